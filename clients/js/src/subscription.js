/**
 * One subscription, which outlives connections.
 *
 * | it is  | a message       | `$reset`, or it is renewed with a loss | its connection ends | leaving it |
 * |--------|-----------------|----------------------------------------|---------------------|------------|
 * | asked  |                 |                                        | is asked again      | ended      |
 * | open   | is handed on    | `PositionLost`, in the place of what   | is asked again      | ended      |
 * |        |                 | was not read yet                       |                     |            |
 * | ended  | is dropped      |                                        |                     |            |
 */

import { positionOf, keptOf, placeOf } from "./answers.js";
import { written } from "./call.js";
import { PositionLost } from "./errors.js";
import { Inbox, Reading } from "./inbox.js";
import { tell } from "./report.js";
import { matcher } from "./patterns.js";

/** @typedef {import("./answers.js").Position} Position */
/** @typedef {import("./answers.js").Kept} Kept */
/** @typedef {import("./connection.js").Connection} Connection */

/**
 * @template T
 * @typedef {import("./answers.js").Message<T>} Message
 */

/**
 * @template [T=any]
 * @typedef {object} SubscribeOptions
 * @property {string} [event] a pattern; all events by default
 * @property {Position | null} [recover] go on from here
 * @property {boolean} [presence] whether `$join` and `$leave` come too
 * @property {number} [queueBytes] how much may wait to be read; 1 MiB by default
 * @property {number | null} [timeout] milliseconds until the server has agreed; 30,000 by default
 * @property {AbortSignal | undefined} [signal] ends it
 * @property {(message: Message<T>) => unknown} [onmessage] is called with each message; nothing is queued
 * @property {(error: PositionLost) => unknown} [onlost] with `onmessage`: messages are lost
 * @property {(subscription: Subscription<T>) => unknown} [onrenewed] on a new connection
 * @property {(error: unknown) => unknown} [onclose] it has ended; null if it was left
 */

/**
 * @template [T=any]
 * @extends {Reading<Message<T>>}
 */
export class Subscription extends Reading {
  /** @type {Position | null} right behind the last message that was read */
  position;
  /** @type {boolean | null} whether nothing was lost when it was last renewed; null: it was not */
  recovered = null;
  /** How many messages the server left out for this client, as the channel's rule allows. */
  dropped = 0;

  /** @internal @type {Connection | null} where the server agreed to it last */
  _connection = null;
  /** @internal @type {Set<Connection>} where it was before, and what is on its way is to come yet */
  _left = new Set();
  /** @internal @type {import("./call.js").Call | null} what asks the server */
  _asking = null;
  /** @internal Whether the server agreed once. */
  _agreed = false;
  /** @internal */
  _over = false;
  /** @internal @type {Position | null} right behind the last message that came on the channel */
  _at;
  /** @internal */
  _matches;
  /** @internal @type {() => void} */
  _forget = () => {};
  /** @internal @type {(subscription: this) => void} */
  _resolve = () => {};

  /** @type {Inbox<Message<T>>} */
  #inbox;
  #options;
  #close;
  /** @type {Promise<this>} */
  #opened;
  /** @type {(error: unknown) => void} */
  #reject = () => {};

  /**
   * @internal
   * @param {string} channel
   * @param {SubscribeOptions<T>} options
   * @param {(subscription: Subscription<T>) => void} close
   */
  constructor(channel, options, close) {
    super();
    const { recover = null, presence = false, queueBytes = 2 ** 20 } = options;
    const event = options.event || "*"; // so the server has it
    written("subscribe", { channel, event }); // throws what it could not read
    /** @readonly */
    this.channel = channel;
    /** @readonly */
    this.event = event;
    /** @readonly */
    this.presence = presence;
    this.position = this._at = positionOf(recover);
    this._matches = matcher(event);
    this.#options = options;
    this.#close = close;
    this.#opened = new Promise((resolve, reject) => {
      this._resolve = resolve;
      this.#reject = reject;
    });
    this.#opened.catch(() => {}); // nobody need wait for it
    this.#inbox = new Inbox(queueBytes, (message) => this.#read(message));
  }

  /** @returns {Promise<this>} when the server has agreed; rejects with why it will not */
  opened() {
    return this.#opened;
  }

  /** Leave it. What is queued can still be read. */
  close() {
    this.#close(this);
  }

  /** @returns {Promise<IteratorResult<Message<T>, undefined>>} the next message */
  next() {
    return this.#inbox.next();
  }

  /** @internal What asks the server for it, or for more of it. */
  _payload() {
    const { channel, event, presence, _at: recover } = this;
    return JSON.stringify({ channel, event, recover: recover ?? undefined, presence: presence || undefined });
  }

  /**
   * @internal The server agreed.
   * @param {any} response
   * @param {Connection} connection
   * @returns {boolean} false if what was missed is too much to be queued
   */
  _begin(response, connection) {
    const before = this._at;
    const recovered = before !== null && response?.recovered === true;
    const position = recovered ? placeOf(response) : positionOf(response);
    const messages = recovered ? keptOf(response) : [];
    const renewed = this._agreed;
    // Nothing was published meanwhile; or the connection that is left has brought it.
    const ahead = renewed && before && before.epoch === position?.epoch && before.offset >= position.offset;
    const left = this._connection;
    if (!position && left?.ready && left !== connection) {
      this._left.add(left);
      left.ping(() => this._left.delete(left));
    }
    this._connection = connection;
    this._agreed = true;
    if (before || renewed) this.recovered = ahead || recovered;
    if (renewed) tell(this.#options.onrenewed, this);
    if (this._over) return true; // it was left there
    if (ahead || recovered) {
      for (const message of messages) {
        if (!this._over && this._awaits(message) && !this._take(message, JSON.stringify(message).length)) return false;
      }
      if (this._at && position) this._at = { ...position, offset: Math.max(position.offset, this._at.offset) };
    } else if (renewed && before && position) return this._reset(position);
    else this.position = this._at = position;
    return true;
  }

  /**
   * @internal Whether a message is for it, and came neither with the answer nor on the connection
   * that was left.
   * @param {{ event: string, offset?: number }} message
   */
  _awaits({ event, offset }) {
    if (offset && this._at) {
      if (offset <= this._at.offset) return false;
      this._at = { ...this._at, offset };
    }
    return this._matches(event);
  }

  /**
   * @internal
   * @param {{ event: string, data?: any, offset?: number }} message
   * @param {number} size
   * @returns {boolean} false if too much waits
   */
  _take({ event, data, offset }, size) {
    const position = offset && this._at ? { ...this._at, offset } : null;
    const message = { channel: this.channel, event, data, position };
    const { onmessage } = this.#options;
    if (!onmessage) return this.#inbox.put(message, size);
    this.#read(message);
    tell(onmessage, message);
    return true;
  }

  /**
   * @internal Messages are lost: it goes on from a position.
   * @param {Position} position
   * @returns {boolean} false if not even that can be queued
   */
  _reset(position) {
    const { onmessage, onlost } = this.#options;
    const lost = new PositionLost(this.channel, position.offset, position.epoch);
    this._at = position;
    this.#inbox.clear(); // its reader is to load anew what these would change
    if (!onmessage) return this.#inbox.put(lost, 0);
    this.#read(lost);
    tell(onlost, lost);
    return true;
  }

  /**
   * @internal
   * @param {unknown} error
   */
  _end(error) {
    this._over = true;
    this._forget();
    this.#reject(error ?? new DOMException(`the subscription to ${this.channel} was left`, "AbortError"));
    this.#inbox.end(error);
    tell(this.#options.onclose, error);
  }

  /** @param {any} message which has a position or none, or a PositionLost, which is one */
  #read(message) {
    this.position = message.position ?? positionOf(message) ?? this.position;
  }
}
