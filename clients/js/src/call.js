/**
 * One call, from when the application makes it until it is over.
 *
 * It waits (`connection` is null) until it is sent; it may wait again, if it is sent anew. `ready` is
 * false while it waits for the server to be asked again. When it is `over`, nobody waits for it.
 */

import { delays } from "./backoff.js";

/** @typedef {import("./connection.js").Connection} Connection */

/**
 * How a call ended: with an error, or a response from a connection. It may be told twice: somebody
 * gave it up, and then its answer came all the same.
 *
 * @typedef {(error: unknown, response: unknown, connection: Connection | null) => void} Ended
 */

/**
 * @typedef {object} CallOptions
 * @property {string} method
 * @property {() => string} write its payload, as JSON, when it is sent
 * @property {Ended} ended
 * @property {((item: unknown, size: number) => void) | undefined} [item] of a stream
 * @property {boolean | undefined} [idempotent] whether it may be sent again though it may have run
 * @property {boolean} [once] whether an error is one, though the server says when to try again
 * @property {boolean} [renewal] whether it waits for a connection whatever the application chose
 * @property {boolean} [notification] whether it has no answer
 * @property {number | null | undefined} [timeout] milliseconds until it is given up
 * @property {number | null | undefined} [itemTimeout] milliseconds that the server has for each item
 * @property {AbortSignal | null | undefined} [signal] gives it up
 * @property {Connection} [only] it means nothing on any other
 */

/** A random part of so many milliseconds is waited before a call is sent again, at first and at most. */
export const FIRST = 500;
export const CAP = 20_000;

export class Call {
  /** @type {Connection | null} where it is in flight */
  connection = null;
  id = 0;
  ready = true;
  over = false;
  /** Whether the server may have run it. */
  sent = false;
  /** When the application made it. */
  began = 0;
  /** @type {(() => void)[]} what is to be taken back when it is over */
  undo = [];
  /** Takes the timer of this try back, if it has one. */
  stop = () => {};
  /** @type {(() => number) | null} */
  #pauses = null;

  /** @param {CallOptions} options */
  constructor(options) {
    this.options = options;
  }

  /**
   * @param {() => number} random
   * @returns {number} how much longer it waits than the server said, so that not all come at once
   */
  pause(random) {
    return (this.#pauses ??= delays(random, FIRST, CAP))();
  }

  /**
   * @param {unknown} error
   * @param {unknown} [response]
   * @param {Connection | null} [connection]
   */
  finish(error, response, connection = null) {
    this.over = true;
    this.stop();
    for (const each of this.undo.splice(0)) each();
    this.options.ended(error, response, connection);
  }
}

/**
 * @param {AbortSignal | null | undefined} signal
 * @param {(reason: unknown) => void} then
 * @returns {() => void} takes it back
 */
export function whenAborted(signal, then) {
  const abort = () => then(signal?.reason);
  signal?.addEventListener("abort", abort);
  return () => signal?.removeEventListener("abort", abort);
}

/**
 * The JSON of a payload, taken now: what becomes of the object later is another thing.
 *
 * @param {string} method
 * @param {unknown} payload
 * @returns {() => string}
 */
export function written(method, payload) {
  const name = JSON.stringify(method);
  const text = JSON.stringify(payload ?? {});
  if (typeof method !== "string" || text?.[0] !== "{") {
    throw new TypeError(`${method}: the name of a method is a string, and its payload an object`);
  }
  if (HALF.test(name + text)) throw new TypeError(`${method}: a lone surrogate`);
  return () => text;
}

/** JSON.stringify writes half of a pair, and nothing else, like this; the server could not read it. */
export const HALF = /(^|[^\\])(\\\\)*\\ud[89a-f]/;
