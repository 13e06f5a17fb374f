/** Where a WebSocket is, by what an application calls it. */

/** @typedef {string | URL} Address `wss://…`, or `https://…`; in a page also relative to it */

/**
 * @param {Address} url
 * @returns {string} the URL of a WebSocket
 */
export function addressOf(url) {
  const address = new URL(url, globalThis.document?.baseURI);
  address.protocol = address.protocol.replace("http", "ws");
  address.hash = ""; // no WebSocket has one
  if (!/^wss?:/.test(address.protocol)) throw new SyntaxError(`${url} is no URL of a WebSocket: write ws://HOST:PORT/PATH`);
  return address.href;
}
