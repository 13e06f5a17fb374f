/**
 * The line that the page's client connects by, and that can be cut, to see what happens then.
 *
 * While it is cut each attempt fails, as it does where there is no network.
 */

/** What a socket is closed with: no sign of life. Clients come back after it. */
const NO_SIGN = 4000;

export class Line {
  isCut = false;
  /** How many connections were made. */
  connections = 0;
  /** The constructor for the client. */
  WebSocket;
  /** @type {WebSocket | null} the newest */
  #socket = null;

  /** @param {string} url */
  constructor(url) {
    const line = this;
    this.url = url;
    this.WebSocket = class extends WebSocket {
      /** @param {string | URL} url @param {string | string[]} [protocols] */
      constructor(url, protocols) {
        super(url, protocols);
        line.#socket = this;
        this.addEventListener("open", () => line.connections++);
      }
    };
  }

  /** Where the client connects to. Throws while the line is cut: the client tries again. */
  address = () => {
    if (this.isCut) throw new Error("the line is cut");
    return this.url;
  };

  cut() {
    this.isCut = true;
    this.#socket?.close(NO_SIGN, "cut by the page");
  }

  mend() {
    this.isCut = false;
  }
}
