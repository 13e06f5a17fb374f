/**
 * The delays before the first, second, third … attempt, in milliseconds, without end.
 *
 * Each is anywhere between zero and a ceiling that begins at `first` and doubles up to `cap`. The
 * jitter is full, and comes after the cap, so that the clients of a server that was away for long do
 * not come back in step. A ceiling is never more than `first` and all delays so far: whose first
 * attempts came quickly one after another, by chance, does not stay away for many times longer than
 * the server did.
 *
 * @param {() => number} random numbers from 0 to 1
 * @param {number} first
 * @param {number} cap
 * @returns {() => number} the next delay; after a connection that held, begin with a new one
 */
export function delays(random, first, cap) {
  let ceiling = first;
  let waited = 0;
  return () => {
    ceiling = Math.min(ceiling, cap);
    const delay = random() * Math.min(ceiling, first + waited);
    waited += delay;
    ceiling *= 2;
    return delay;
  };
}
