/** What a browser knows: whether the page is shown, and whether there is a network. */

/**
 * @typedef {object} Page
 * @property {() => boolean} online whether there may be a network
 * @property {() => void} stop
 */

/**
 * @param {() => void} hurry the network is back, or the page is shown again
 * @returns {Page}
 */
export function watch(hurry) {
  const { document } = globalThis;
  if (!document) return { online: () => true, stop() {} };
  const shown = () => {
    if (document.visibilityState === "visible") hurry();
  };
  addEventListener("online", hurry);
  document.addEventListener("visibilitychange", shown);
  return {
    online: () => navigator.onLine !== false,
    stop() {
      removeEventListener("online", hurry);
      document.removeEventListener("visibilitychange", shown);
    },
  };
}
