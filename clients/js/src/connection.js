/** One WebSocket, from the attempt to open it to its end; and the conversation on it. */

import { Call } from "./call.js";
import { ABNORMAL, ConnectionClosed, NO_PONG } from "./errors.js";
import { Heartbeat } from "./heartbeat.js";
import { frameOf, Pending } from "./pending.js";
import { Served } from "./serving.js";

/** @typedef {import("./clock.js").Clock} Clock */
/** @typedef {import("./serving.js").Serving} Serving */

/**
 * What a connection needs of a WebSocket: the standard's, or that of the package `ws`.
 *
 * @typedef {object} Socket
 * @property {number} bufferedAmount
 * @property {number} readyState
 * @property {((event: any) => void) | null} onopen
 * @property {((event: any) => void) | null} onmessage
 * @property {((event: any) => void) | null} onerror
 * @property {((event: any) => void) | null} onclose
 * @property {(text: string) => void} send
 * @property {(code?: number, reason?: string) => void} close
 */

/** @typedef {new (url: string, protocols: string[]) => Socket} SocketConstructor */

/**
 * Who has connections, and is told what happens on them.
 *
 * @typedef {object} Owner
 * @property {(connection: Connection) => void} opened
 * @property {(connection: Connection, error: ConnectionClosed) => void} ended
 * @property {(connection: Connection, after: number) => void} leave the server is about to close
 * @property {(connection: Connection, call: Call, item: unknown, size: number) => void} item
 * @property {(connection: Connection, call: Call, error: Error | null, response: unknown) => void} answered
 * @property {(connection: Connection, message: any, size: number) => boolean} message whether it meant something
 * @property {() => void} freed the server is answered
 * @property {() => void} ignored a message meant nothing
 */

export class Connection {
  pending = new Pending();
  /** @type {Set<string>} the patterns of channels that the server may believe this client wants */
  patterns = new Set();

  #socket;
  #owner;
  #clock;
  #served;
  /** @type {Heartbeat | null} */
  #beat = null;
  #over = false;

  /**
   * @param {string} url
   * @param {object} options
   * @param {SocketConstructor} options.WebSocket
   * @param {Clock} options.clock
   * @param {number | null} options.heartbeat
   * @param {Serving} options.serving
   * @param {Owner} options.owner
   */
  constructor(url, { WebSocket, clock, heartbeat, serving, owner }) {
    const socket = (this.#socket = new WebSocket(url, ["wsrpc.v1.json"]));
    this.#owner = owner;
    this.#clock = clock;
    this.#served = new Served(serving, (text) => socket.send(text));
    socket.onopen = () => {
      this.#beat = new Heartbeat(
        clock,
        heartbeat,
        () => this.ping(),
        () => this.end(new ConnectionClosed(NO_PONG, "the server gave no sign of life"), NO_PONG),
      );
      owner.opened(this);
    };
    socket.onmessage = ({ data }) => {
      this.#beat?.heard();
      if (!this.#receive(data)) owner.ignored();
    };
    socket.onclose = ({ code, reason }) => {
      this.end(new ConnectionClosed(code || ABNORMAL, reason));
    };
    socket.onerror = ({ message }) => {
      // It says why, where anybody does, and some say no more than this of an attempt that failed.
      if (!this.#beat) this.end(new ConnectionClosed(ABNORMAL, message));
    };
  }

  /** Whether what is sent now may arrive: not behind the first word of the end. */
  get ready() {
    return this.#socket.readyState === 1;
  }

  /** Bytes that wait to be sent. */
  get buffered() {
    return this.#socket.bufferedAmount;
  }

  /** Whether nothing is in flight, in either direction. */
  get idle() {
    return !this.pending.size && !this.#served.size;
  }

  /**
   * Send a call.
   *
   * @param {Call} call
   * @param {number | null} [timeout] how long somebody waits, in milliseconds
   */
  ask(call, timeout) {
    const [id, text] = this.pending.ask(call, timeout);
    call.id = id;
    this.#socket.send(text);
  }

  /** @param {Call} call */
  notify(call) {
    this.#socket.send(frameOf(null, call));
  }

  /**
   * Nobody waits for a call any more.
   *
   * @param {number} id
   */
  cancel(id) {
    this.#socket.send(`{"id":${id},"cancel":true}`);
  }

  /**
   * Have the server answer, whatever it says.
   *
   * @param {() => void} [then] what it had sent before is here now, or the connection has ended
   */
  ping(then = () => {}) {
    this.ask(new Call({ method: "rpc.ping", write: () => "{}", ended: then }));
  }

  /** Ask the server for a sign of life, if it is connected. */
  probe() {
    this.#beat?.probe();
  }

  /**
   * It is over, whether the other side knows or not.
   *
   * @param {ConnectionClosed} error
   * @param {number} [code] tell the server, with this code
   * @param {string} [reason]
   * @returns {Promise<void>} when it knows, or did not answer in time
   */
  async end(error, code, reason) {
    const socket = this.#socket;
    if (this.#over) return;
    this.#over = true;
    this.#beat?.stop();
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => {}; // `ws` throws errors that nobody listens to
    this.#served.end();
    this.#owner.ended(this, error);
    if (!code) return;
    let stop = () => {};
    await new Promise((resolve) => {
      stop = this.#clock.after(CLOSING, () => resolve(null));
      socket.onclose = resolve;
      socket.close(code, reason);
      if (!this.#beat) resolve(null); // it was not open, and some say no more then
    });
    stop();
  }

  /**
   * @param {unknown} text
   * @returns {boolean} false if it meant nothing
   */
  #receive(text) {
    const frame = read(text);
    if (!frame) return false;
    const { id, method, channel, event, data } = frame;
    const size = /** @type {string} */ (text).length;
    if ("response" in frame || "error" in frame || "item" in frame) return this.#settle(frame, size);
    if (typeof method === "string" && (typeof id === "string" || id === null)) {
      return this.#served.take(id, method, frame.payload, this.#owner.freed);
    }
    if (frame.cancel === true) this.#served.cancel(id);
    else if (typeof event !== "string" || !Number.isInteger(frame.offset ?? 0)) return false;
    else if (typeof channel === "string") return this.#owner.message(this, frame, size);
    else if (event === "$reconnect" && Number.isFinite(data?.after) && data.after >= 0) this.#owner.leave(this, data.after);
    else return false;
    return true;
  }

  /**
   * @param {Record<string, any>} frame
   * @param {number} size
   */
  #settle(frame, size) {
    const outcome = this.pending.settle(frame);
    if (!outcome) return false;
    if ("item" in outcome) this.#owner.item(this, outcome.call, outcome.item, size);
    else this.#owner.answered(this, outcome.call, outcome.error, outcome.response);
    return true;
  }
}

/** How long the server may take to say goodbye, in milliseconds. */
const CLOSING = 5000;

/**
 * @param {unknown} text
 * @returns {Record<string, any> | null} an object, or null
 */
function read(text) {
  try {
    const frame = typeof text === "string" ? JSON.parse(text) : null;
    return typeof frame === "object" && !Array.isArray(frame) ? frame : null;
  } catch {
    return null;
  }
}
