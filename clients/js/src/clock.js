/**
 * Time and chance, as a client takes them. A test has its own.
 *
 * @typedef {object} Clock
 * @property {() => number} now milliseconds, from any moment on
 * @property {(ms: number, then: () => void) => () => void} after returns what takes it back
 * @property {() => number} random a number from 0 to 1
 */

/** More milliseconds than a timer can count would be none. */
const LONGEST = 2 ** 31 - 1;

/** @type {Clock} */
export const clock = {
  now: () => performance.now(),
  after(ms, then) {
    if (!(ms <= LONGEST)) return () => {};
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
  random: Math.random,
};
