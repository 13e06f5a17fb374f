/**
 * What waits to be read: the queue of a subscription, and of a stream. What was queued before the end
 * is read before the end is.
 */

/** What a queued message costs besides its text. */
const OVERHEAD = 256;

/**
 * @template T
 * @typedef {{ resolve: (result: IteratorResult<T, undefined>) => void, reject: (error: unknown) => void }} Reader
 */

/**
 * What is read by `for await`, and left by leaving the loop.
 *
 * @template T
 * @implements {AsyncIterator<T, undefined, undefined>}
 */
export class Reading {
  /** Leave it. What is queued can still be read. */
  close() {}

  /** @returns {Promise<IteratorResult<T, undefined>>} the next one */
  async next() {
    return END;
  }

  /** @returns {Promise<IteratorResult<T, undefined>>} */
  async return() {
    this.close();
    return END;
  }

  [Symbol.asyncIterator]() {
    return this;
  }
}

/** @type {{ done: true, value: undefined }} */
const END = { done: true, value: undefined };

/** @template T */
export class Inbox {
  /** @type {{ value: T | Error, size: number }[]} */
  #queue = [];
  #size = 0;
  /** @type {Reader<T>[]} */
  #readers = [];
  /** @type {{ error: unknown } | null} */
  #end = null;
  #limit;
  #taken;

  /**
   * @param {number} limit how much may wait
   * @param {(value: T | Error) => void} [taken] called when something is read
   */
  constructor(limit, taken) {
    this.#limit = limit;
    this.#taken = taken;
  }

  /** Whether there is something to take. */
  get ready() {
    return this.#queue.length > 0 || this.#end !== null;
  }

  /**
   * Queue a value, or an error that is read in its place.
   *
   * @param {T | Error} value
   * @param {number} size
   * @returns {boolean} false if it is too much
   */
  put(value, size) {
    if (this.#end) return true;
    if (this.#size + size + OVERHEAD > this.#limit) return false;
    this.#size += size + OVERHEAD;
    this.#queue.push({ value, size: size + OVERHEAD });
    this.#hand();
    return true;
  }

  /** Forget what is queued. */
  clear() {
    this.#queue = [];
    this.#size = 0;
  }

  /**
   * Nothing comes any more.
   *
   * @param {unknown} error what its readers are told; null for nothing
   */
  end(error) {
    this.#end ??= { error };
    this.#hand();
  }

  /** @returns {Promise<IteratorResult<T, undefined>>} the oldest, or how it ended */
  next() {
    return new Promise((resolve, reject) => {
      this.#readers.push({ resolve, reject });
      this.#hand();
    });
  }

  #hand() {
    while (this.#readers.length && this.ready) {
      const { resolve, reject } = /** @type {Reader<T>} */ (this.#readers.shift());
      const first = this.#queue.shift();
      if (first) {
        const { value, size } = first;
        this.#size -= size;
        this.#taken?.(value);
        if (value instanceof Error) reject(value);
        else resolve({ done: false, value });
      } else if (this.#end?.error == null) resolve(END);
      else reject(this.#end.error);
    }
  }
}
