/** Faults of the application's own code, which must not become faults of the client. */

/**
 * Have an exception that nobody catches reported as such, after what is going on now.
 *
 * @param {unknown} error
 */
function report(error) {
  if (typeof reportError === "function") reportError(error);
  else {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/**
 * Tell of an exception whose end the server has: that must not be able to end the process.
 *
 * @param {unknown} error
 */
export function complain(error) {
  if (typeof reportError === "function") reportError(error);
  else console.error(error);
}

/**
 * Call a function of the application, if there is one, whatever it does.
 *
 * @template {unknown[]} A
 * @param {((...args: A) => unknown) | undefined} callback
 * @param {A} args
 */
export function tell(callback, ...args) {
  try {
    callback?.(...args);
  } catch (error) {
    report(error);
  }
}
