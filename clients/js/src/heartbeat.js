/**
 * Whether the server of a connection is still there. Whatever it says is a sign of life; if it says
 * nothing for a while, it is asked.
 */

/** @typedef {import("./clock.js").Clock} Clock */

/** How long an answer may take, in milliseconds. */
const ANSWER = 10_000;

export class Heartbeat {
  #clock;
  #every;
  #ask;
  #dead;
  #asking = false;
  /** @type {() => void} nobody listens any more */
  stop = () => {};

  /**
   * @param {Clock} clock
   * @param {number | null} every milliseconds without a sign of life until it is asked; null, or 0: never
   * @param {() => void} ask
   * @param {() => void} dead there was no answer
   */
  constructor(clock, every, ask, dead) {
    this.#clock = clock;
    this.#every = every || Infinity;
    this.#ask = ask;
    this.#dead = dead;
    this.heard();
  }

  /** A sign of life. */
  heard() {
    this.#asking = false;
    this.#wait(this.#every, () => this.probe());
  }

  /** Ask now. */
  probe() {
    if (this.#asking) return;
    this.#asking = true;
    this.#wait(ANSWER, this.#dead);
    this.#ask();
  }

  /**
   * @param {number} ms
   * @param {() => void} then
   */
  #wait(ms, then) {
    this.stop();
    this.stop = this.#clock.after(ms, then);
  }
}
