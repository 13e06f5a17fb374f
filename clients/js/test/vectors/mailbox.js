// What comes, in its order, for somebody who waits for it: never for ever.

import assert from "node:assert/strict";

/** Milliseconds within which whatever is waited for must have happened. */
const PATIENCE = 10_000;

/**
 * What a promise comes to.
 *
 * @template T
 * @param {Promise<T>} promise
 * @param {() => string} what what did not happen, if it does not
 * @returns {Promise<T>}
 */
export async function within(promise, what) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  const never = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new assert.AssertionError({ message: what() })), PATIENCE);
  });
  try {
    return await Promise.race([promise, /** @type {Promise<never>} */ (never)]);
  } finally {
    clearTimeout(timer);
  }
}

/** @template T */
export class Mailbox {
  constructor() {
    /** @type {T[]} */
    this.items = [];
    /** @type {((item: T) => void) | null} */
    this.waiting = null;
  }

  /** @param {T} item */
  put(item) {
    const { waiting } = this;
    this.waiting = null;
    if (waiting) waiting(item);
    else this.items.push(item);
  }

  /**
   * The next one.
   *
   * @param {() => string} what what did not come, if it does not
   * @returns {Promise<T>}
   */
  take(what) {
    const [item] = this.items.splice(0, 1);
    if (item !== undefined) return Promise.resolve(item);
    return within(
      new Promise((resolve) => {
        this.waiting = resolve;
      }),
      what,
    );
  }
}
