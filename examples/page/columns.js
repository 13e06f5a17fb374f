/**
 * What a chart draws: moments, and the values at each of them, for as long as the chart looks back.
 *
 * Where nothing is known for a while there is a row of nulls, so that no line is drawn across.
 */

/** Seconds without a row, from which on there is a gap. */
const GAP = 2.5;

/** Rows for each second, at most; more are left out from the oldest on. */
const ROWS = 4;

export class Columns {
  /** @type {number[]} seconds since the epoch, each more than the one before */
  at = [];
  /** @type {(number | null)[][]} a column for each series */
  values = [];
  #seconds;

  /** @param {number} seconds how far it looks back */
  constructor(seconds) {
    this.#seconds = seconds;
  }

  /** Where the last row is; undefined where there is none. */
  get end() {
    return this.at.at(-1);
  }

  /**
   * Add a row behind the others. One that is not behind them is left out, unless it is so far in
   * front that the clock must have been put back: then it is the first.
   *
   * @param {number} at seconds since the epoch
   * @param {number[]} row as many values as before; where they are more or fewer, it is the first
   */
  add(at, row) {
    if (row.length !== this.values.length) {
      this.at = [];
      this.values = row.map(() => []);
    }
    const { end } = this;
    if (end !== undefined) {
      if (at < end - this.#seconds) this.from(-Infinity);
      else if (at <= end) return;
      else if (at - end > GAP) this.#push(end + 1, null);
    }
    this.#push(at, row);
    const rows = this.at.findIndex((each) => each >= at - this.#seconds);
    const old = Math.max(rows, this.at.length - this.#seconds * ROWS);
    if (old > 0) for (const column of [this.at, ...this.values]) column.splice(0, old);
  }

  /**
   * Drop the rows from a moment on: they come anew.
   *
   * @param {number} at seconds since the epoch
   */
  from(at) {
    const kept = this.at.findIndex((each) => each >= at);
    if (kept >= 0) for (const column of [this.at, ...this.values]) column.splice(kept);
  }

  /**
   * @param {number} at
   * @param {number[] | null} row
   */
  #push(at, row) {
    this.at.push(at);
    this.values.forEach((column, index) => column.push(row?.[index] ?? null));
  }
}
