/**
 * When a client connects, and when it waits or gives up. It knows no socket, no clock, no timer.
 *
 * |               | connecting | open                                       | waiting      |
 * |---------------|------------|--------------------------------------------|--------------|
 * | opened        | open       | open, on the new connection                |              |
 * | failed, again | waiting    | open, due later                            |              |
 * | failed        | closed     | open, not due any more                     |              |
 * | lost, again   |            | connecting if attempting, waiting if not   |              |
 * | lost          |            | closed                                     |              |
 * | told          |            | open, due when the server said             |              |
 * | began         |            | open, attempting                           | connecting   |
 * | hurry         |            |                                            | waiting, due |
 * | close         | closed     | closed                                     | closed       |
 *
 * What has no place in the table changes nothing. `wire/reconnecting.json` has it as conversations,
 * for clients in all languages.
 */

import { delays } from "./backoff.js";

/** @typedef {"connecting" | "open" | "waiting" | "closed"} ClientState see clients.md */

/**
 * The state of one client, which begins with an attempt under way.
 *
 * `now` is milliseconds of any clock that does not go back.
 */
export class Reconnecting {
  /** Whether an attempt is under way. */
  attempting = true;
  /** @type {number | null} the moment of the next attempt */
  due = null;

  #begin;
  #next;
  #stable;
  /** @type {number | null} since when there is a connection */
  #since = null;

  /**
   * @param {object} options
   * @param {() => number} options.random numbers from 0 to 1
   * @param {number} options.first
   * @param {number} options.cap
   * @param {number} options.stable a connection that held so long has the delays begin anew
   */
  constructor({ random, first, cap, stable }) {
    this.#begin = () => delays(random, first, cap);
    this.#next = this.#begin();
    this.#stable = stable;
  }

  /** @returns {ClientState} */
  get state() {
    if (this.#since !== null) return "open";
    if (this.attempting) return "connecting";
    return this.due === null ? "closed" : "waiting";
  }

  /**
   * The attempt succeeded.
   *
   * @param {number} now
   */
  opened(now) {
    if (this.attempting) {
      this.#since = now;
      this.attempting = false;
      this.due = null;
    }
  }

  /**
   * The attempt failed.
   *
   * @param {number} now
   * @param {boolean} again whether another makes sense
   * @param {number} [after] what the server said: not before
   */
  failed(now, again, after = 0) {
    if (this.attempting) {
      this.attempting = false;
      this.due = again ? now + after + this.#next() : null;
    }
  }

  /**
   * The connection ended.
   *
   * @param {number} now
   * @param {boolean} again whether the client may come back
   */
  lost(now, again) {
    if (this.#since === null) return;
    if (now - this.#since >= this.#stable) this.#next = this.#begin();
    this.#since = null;
    if (!again) this.close();
    else if (!this.attempting && this.due === null) this.due = now + this.#next();
  }

  /**
   * The server is about to close.
   *
   * @param {number} now
   * @param {number} after
   */
  told(now, after) {
    if (this.#since !== null && !this.attempting) this.due = now + after;
  }

  /** The attempt that was due is under way. */
  began() {
    if (this.due !== null) {
      this.attempting = true;
      this.due = null;
    }
  }

  /**
   * Somebody knows that it makes sense to try at once.
   *
   * @param {number} now
   */
  hurry(now) {
    if (this.state === "waiting") this.due = now;
  }

  /** Nobody wants it any more. */
  close() {
    this.#since = this.due = null;
    this.attempting = false;
  }
}
