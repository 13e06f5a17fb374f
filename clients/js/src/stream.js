/** One call that is answered with a stream: its items, read by `for await`. */

import { Call } from "./call.js";
import { timeoutOf } from "./calls.js";
import { TooSlow } from "./errors.js";
import { Inbox, Reading } from "./inbox.js";

/**
 * @typedef {object} StreamOptions
 * @property {number | null} [timeout] milliseconds that an item may take to come; none by default
 * @property {AbortSignal | undefined} [signal] leaves it
 * @property {number} [queueBytes] how much may wait to be read; 1 MiB by default
 */

/**
 * The method is called when it is first read. Leaving the loop tells the server, whose method ends.
 * The loop throws `CallFailed` where the method fails, `ConnectionClosed` when the connection ends,
 * `TooSlow` when more than `queueBytes` wait to be read.
 *
 * @template [T=any]
 * @extends {Reading<T>}
 */
export class Stream extends Reading {
  /** What the method answered at its end: null for a stream, the answer for a method that is none. */
  response = /** @type {any} */ (null);

  /** @type {Inbox<T>} */
  #inbox;
  #call;
  #calls;
  #clock;
  #options;
  #begun = false;

  /**
   * @internal
   * @param {import("./calls.js").Calls} calls
   * @param {import("./clock.js").Clock} clock
   * @param {string} method
   * @param {() => string} write
   * @param {StreamOptions} options
   */
  constructor(calls, clock, method, write, options) {
    super();
    const { queueBytes = 2 ** 20, timeout, signal } = options;
    this.#calls = calls;
    this.#clock = clock;
    this.#options = options;
    this.#inbox = new Inbox(queueBytes);
    this.#call = new Call({
      method,
      write,
      signal,
      itemTimeout: timeout,
      item: (item, size) => {
        if (!this.#inbox.put(/** @type {T} */ (item), size)) {
          this.#leave(new TooSlow(method));
        }
      },
      ended: (error, response) => {
        this.response = response ?? null;
        this.#inbox.end(error);
      },
    });
  }

  /** @returns {Promise<IteratorResult<T, undefined>>} */
  async next() {
    const { timeout } = this.#options;
    if (!this.#begun) {
      this.#begun = true;
      if (!this.#call.over) this.#calls.begin(this.#call);
    }
    const item = this.#inbox.next();
    if (timeout == null) return item;
    const stop = this.#clock.after(timeout, () => this.#leave(timeoutOf(this.#call.options.method, timeout)));
    return item.finally(stop);
  }

  /** Leave it: the server's method ends. What is queued can still be read. */
  close() {
    this.#leave(null);
  }

  /** @param {unknown} error */
  #leave(error) {
    if (this.#begun) this.#calls.giveUp(this.#call, error);
    else this.#call.finish(error);
  }
}
