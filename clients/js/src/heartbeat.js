/**
 * Whether the server of a connection is still there. Whatever it says is a sign of life; if it says
 * nothing for a while, it is asked.
 */

/** @typedef {import("./clock.js").Clock} Clock */

/** How long an answer may take, in milliseconds. */
export const ANSWER = 10_000;

export class Heartbeat {
  #clock;
  #every;
  #ask;
  #dead;
  #heard;
  #asking = false;
  /** @type {() => void} */
  #stop = () => {};

  /**
   * @param {Clock} clock
   * @param {number | null} every milliseconds without a sign of life until it is asked; null: never
   * @param {() => void} ask
   * @param {() => void} dead there was no answer
   */
  constructor(clock, every, ask, dead) {
    this.#clock = clock;
    this.#every = every ?? Infinity;
    this.#ask = ask;
    this.#dead = dead;
    this.#heard = clock.now();
    this.#wait(this.#every);
  }

  /** A sign of life. */
  heard() {
    this.#heard = this.#clock.now();
    if (this.#asking) {
      this.#asking = false;
      this.#wait(this.#every);
    }
  }

  /** Ask now. */
  probe() {
    if (this.#asking) return;
    this.#asking = true;
    this.#wait(ANSWER);
    this.#ask();
  }

  stop() {
    this.#stop();
  }

  /** @param {number} ms */
  #wait(ms) {
    this.#stop();
    this.#stop = this.#clock.after(ms, () => this.#look());
  }

  #look() {
    const left = this.#heard + this.#every - this.#clock.now();
    if (this.#asking) this.#dead();
    else if (left > 0) this.#wait(left);
    else this.probe();
  }
}
