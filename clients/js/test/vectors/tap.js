// A WebSocket that is given to the client, and says what passes. Nothing that the client sends goes
// out without being asked for: what it says of its own accord, like the cancel of a call whose time
// is over, waits, as if the network were slow. And what no proper client says can be said past it.

import { WebSocket } from "ws";
import { Mailbox } from "./mailbox.js";

/** @typedef {Record<string, any>} Frame */

/**
 * @typedef {object} Handshake
 * @property {string[]} [offers] the subprotocols that the conversation offers instead of the client's
 * @property {string | null} [selects] the one that the server is to select
 */

const NATIVE = "wsrpc.v1.json";

/** How many messages clients have said, and how many were said past them, of all conversations. */
export const messages = { said: 0, past: 0 };

/** What passes over the connection of one client. */
export class Tap {
  /** @param {Handshake} handshake */
  constructor(handshake) {
    /** What has come, parsed. @type {Mailbox<any>} */
    this.received = new Mailbox();
    /** The closing frame. @type {Mailbox<{ code: number, reason: string }>} */
    this.closed = new Mailbox();
    /** What the client said without being asked to. @type {Frame[]} */
    this.unasked = [];
    /** What of what comes is not for the client. @type {(frame: any) => boolean} */
    this.withholds = () => false;
    /** @type {{ fits: (frame: Frame) => boolean, sent: (frame: Frame) => void }[]} */
    this.permits = [];
    /** @type {InstanceType<typeof WebSocket> & { past(data: string): void } | null} */
    this.socket = null;
    this.WebSocket = tapped(this, handshake);
  }

  /**
   * Let the next frame out that fits.
   *
   * @param {(frame: Frame) => boolean} fits
   * @returns {Promise<Frame>} the frame, as soon as the client has said it
   */
  permit(fits) {
    // A client that has said it already, like the answer to a call that was cancelled, meant this.
    const index = this.unasked.findIndex(fits);
    if (index >= 0) {
      const [frame] = this.unasked.splice(index, 1);
      this.#out(JSON.stringify(frame));
      return Promise.resolve(/** @type {Frame} */ (frame));
    }
    return new Promise((sent) => this.permits.push({ fits, sent }));
  }

  /**
   * The client sends this.
   *
   * @param {string} text
   */
  send(text) {
    const frame = JSON.parse(text);
    const index = this.permits.findIndex(({ fits }) => fits(frame));
    const [permit] = index < 0 ? [] : this.permits.splice(index, 1);
    if (!permit) return this.unasked.push(frame);
    this.#out(text);
    return permit.sent(frame);
  }

  /** @param {string} text */
  #out(text) {
    messages.said++;
    this.socket?.past(text);
  }

  /**
   * Send a text message past the client.
   *
   * @param {string} text
   */
  past(text) {
    messages.past++;
    this.socket?.past(text);
  }

  /**
   * Send a binary message past the client.
   *
   * @param {Buffer} data
   */
  pastBinary(data) {
    messages.past++;
    this.socket && WebSocket.prototype.send.call(this.socket, data, {}, () => {});
  }

  /**
   * Send a message in fragments past the client.
   *
   * @param {string[]} fragments
   */
  pastFragments(fragments) {
    messages.past++;
    for (const [index, fragment] of fragments.entries()) {
      const options = { fin: index === fragments.length - 1 };
      this.socket && WebSocket.prototype.send.call(this.socket, fragment, options, () => {});
    }
  }

  /**
   * Write bytes past the client, and past the WebSocket.
   *
   * @param {Buffer} bytes
   */
  pastFrames(bytes) {
    messages.past++;
    // @ts-expect-error it is the library's own: no other way leads to the socket
    this.socket?._socket.write(bytes);
  }

  /** @param {boolean} reads whether the client reads from the network */
  read(reads) {
    if (reads) this.socket?.resume();
    else this.socket?.pause();
  }

  /**
   * Something has come.
   *
   * @param {string} data
   * @returns {boolean} whether the client is to see it
   */
  incoming(data) {
    const frame = JSON.parse(data);
    this.received.put(frame);
    return !this.withholds(frame);
  }
}

/**
 * The class that a client makes its connection with.
 *
 * @param {Tap} tap
 * @param {Handshake} handshake
 */
function tapped(tap, { offers, selects }) {
  return class extends WebSocket {
    /**
     * @param {string} url
     * @param {string[]} protocols
     */
    constructor(url, protocols) {
      const offered = selects === undefined ? protocols : (offers ?? []);
      super(url, offered, { perMessageDeflate: false });
      tap.socket = this;
    }

    /** Where the conversation has none, the client is told its own all the same. */
    // @ts-expect-error a property there, an accessor here
    get protocol() {
      return this.selected || (selects === null ? NATIVE : "");
    }

    /** What the server has really selected. */
    get selected() {
      return String(Reflect.get(WebSocket.prototype, "protocol", this));
    }

    /** @param {any} data */
    send(data) {
      tap.send(data);
    }

    /** @param {string} data */
    past(data) {
      super.send(data);
    }

    /**
     * @param {string} event
     * @param {any[]} values
     * @returns {boolean}
     */
    emit(event, ...values) {
      if (event === "message" && !tap.incoming(values[0].toString())) return true;
      if (event === "close") tap.closed.put({ code: values[0], reason: values[1].toString() });
      return super.emit(event, ...values);
    }
  };
}
