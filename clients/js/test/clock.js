/** A clock that stands still until a test moves it, and chance that a test chooses. */

export class Clock {
  /** What `random` gives. */
  chance = 0.5;
  #now = 1000;
  /** @type {Set<{ at: number, then: () => void }>} */
  #timers = new Set();

  now = () => this.#now;

  random = () => this.chance;

  /** @param {number} ms @param {() => void} then */
  after = (ms, then) => {
    if (!Number.isFinite(ms)) return () => {};
    const timer = { at: this.#now + ms, then };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  };

  /** How many timers run. */
  get timers() {
    return this.#timers.size;
  }

  /** Let time pass, and call what is due in its order. @param {number} ms */
  pass(ms) {
    const until = this.#now + ms;
    for (;;) {
      const [first] = [...this.#timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at);
      if (!first) break;
      this.#timers.delete(first);
      this.#now = Math.max(this.#now, first.at);
      first.then();
    }
    this.#now = until;
  }
}
