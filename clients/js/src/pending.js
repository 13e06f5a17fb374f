/**
 * The calls in flight on one connection, by their ids, which are integers from 1. It knows no socket.
 *
 * A call that nobody waits for any more keeps its place until its end comes: the server works on it
 * still, and counts it too. Ids are never used twice, so a late answer is never taken for another's.
 */

import { CallFailed, UnexpectedData } from "./errors.js";

/** @typedef {import("./call.js").Call} Call */

/**
 * What an answer means: an item of a call's stream, or its end, by an error or a response.
 *
 * @typedef {{ call: Call, item: unknown } | { call: Call, error: Error | null, response: unknown }} Outcome
 */

export class Pending {
  /** @type {Map<unknown, { call: Call, text: string }>} */
  #calls = new Map();
  #last = 0;

  get size() {
    return this.#calls.size;
  }

  /**
   * @param {Call} call
   * @param {number | null} [timeout] how long somebody waits for it, in milliseconds
   * @returns {[number, string]} its id, and what is to be sent
   */
  ask(call, timeout) {
    const id = ++this.#last;
    const text = frameOf(id, call, timeout);
    this.#calls.set(id, { call, text });
    return [id, text];
  }

  /**
   * @param {Record<string, any>} frame with an `item`, a `response` or an `error`
   * @returns {Outcome | null} null if no such call is in flight
   */
  settle(frame) {
    const { id } = frame;
    const failed = "error" in frame;
    const found = id == null ? failed && this.#refused(frame.error) : this.#calls.has(id) && id;
    if (found === false) return null;
    const { call } = /** @type {{ call: Call }} */ (this.#calls.get(found));
    if (!failed && !("response" in frame)) return { call, item: frame.item };
    this.#calls.delete(found);
    return { call, error: failed ? failureOf(frame.error) : null, response: frame.response };
  }

  /** @returns {Call[]} all of them, in the order in which they were sent; none is in flight now */
  drain() {
    const calls = [...this.#calls.values()].map(({ call }) => call);
    this.#calls.clear();
    return calls;
  }

  /**
   * The call that was too long for the server, which read no id of it. It says what it takes and how
   * long the message was; of several of that length it is the oldest, and it refuses the others too.
   *
   * @param {any} error
   */
  #refused(error) {
    const { size, max } = error?.data ?? {};
    if (size > max) {
      for (const [id, { text }] of this.#calls) {
        if (new TextEncoder().encode(text).length === size) return id;
      }
    }
    return false;
  }
}

/**
 * @param {number | null} id null for a notification
 * @param {Call} call
 * @param {number | null} [timeout]
 */
export function frameOf(id, call, timeout) {
  const { method, write } = call.options;
  const end = timeout && timeout < 2 ** 53 ? `,"timeout":${timeout}` : ""; // what is longer has no form
  return `{"id":${id},"method":${JSON.stringify(method)},"payload":${write()}${end}}`;
}

/** @param {any} error as the server sent it */
function failureOf(error) {
  const { code, message, data, errors, retry_after: retryAfter } = error ?? {};
  return Number.isInteger(code) && typeof message === "string"
    ? new CallFailed(code, message, { data, errors, retryAfter: Number.isFinite(retryAfter) ? retryAfter : undefined })
    : new UnexpectedData("an error that cannot be read");
}
