/** Charts of the last minutes, drawn by uPlot, in the colours of the style sheet. */

import uPlot from "./vendor/uPlot.esm.js";
import { shortTime } from "./units.js";

/** @typedef {import("./columns.js").Columns} Columns */

/**
 * @typedef {object} Look
 * @property {(index: number, all: number) => string} colour of a series: a CSS colour or `--property`
 * @property {boolean} [filled] whether the area below the first series is: its colour is `#rrggbb`
 * @property {number} [width] of lines, in pixels
 * @property {number} [most] the top of the axis; by default it fits the values
 * @property {number} [least] what the top of the axis is at least
 * @property {(value: number) => string} axis how values are written there
 * @property {number[]} [steps] between these, by default decimal ones
 */

/** Seconds at the left side whose time would be below that of the other axis. */
const CORNER = 10;

/** Behind a colour as `#rrggbb`: how much of it fills the area below its line. */
const FAINT = "24";

const styles = getComputedStyle(document.documentElement);
const darkness = matchMedia("(prefers-color-scheme: dark)");

/** @param {string} colour */
const ink = (colour) => (colour.startsWith("--") ? styles.getPropertyValue(colour).trim() : colour);

export class Chart {
  #place;
  #columns;
  #look;
  #seconds;
  #point;
  /** @type {uPlot | null} */
  #plot = null;
  #end = 0;

  /**
   * @param {HTMLElement} place
   * @param {Columns} columns
   * @param {number} seconds how far it looks back
   * @param {Look} look
   * @param {(row: number | null) => void} point is called with the row that is pointed at
   */
  constructor(place, columns, seconds, look, point) {
    this.#place = place;
    this.#columns = columns;
    this.#seconds = seconds;
    this.#look = look;
    this.#point = point;
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(place);
    darkness.addEventListener("change", () => this.#plot?.redraw(false));
  }

  /** @param {number} end the moment at its right side, in seconds since the epoch */
  draw(end) {
    this.#end = end;
    const { at, values } = this.#columns;
    if (!values.length) return;
    if (this.#plot && this.#plot.series.length !== values.length + 1) {
      this.#plot.destroy();
      this.#plot = null;
    }
    const data = /** @type {uPlot.AlignedData} */ ([at, ...values]);
    if (this.#plot) this.#plot.setData(data);
    else this.#plot = new uPlot(this.#options(values.length), data, this.#place);
  }

  /** @param {number} at */
  #time = (at) => (at - this.#end + this.#seconds < CORNER ? "" : shortTime(at * 1000));

  #size() {
    return { width: Math.max(120, this.#place.clientWidth), height: Math.max(80, this.#place.clientHeight) };
  }

  /**
   * @param {number} series
   * @returns {uPlot.Options}
   */
  #options(series) {
    const { colour, filled, width = 1.5, most, least = 1, axis, steps } = this.#look;
    const font = `11px ${styles.fontFamily}`;
    const grid = { stroke: () => ink("--grid"), width: 1 };
    const lines = { stroke: () => ink("--muted"), font, grid, ticks: { show: false } };
    return {
      ...this.#size(),
      padding: [8, 4, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, y: false },
        sync: { key: "machine", scales: ["x", null] },
        points: { size: 7 },
      },
      scales: {
        x: { time: true, range: () => [this.#end - this.#seconds, this.#end] },
        y: { range: (_, __, max) => [0, most ?? Math.max(least, (max ?? 0) * 1.15)] },
      },
      axes: [
        { ...lines, size: 22, gap: 4, incrs: [60, 120, 300], values: (_, at) => at.map(this.#time) },
        { ...lines, size: 46, gap: 6, space: 32, ...(steps && { incrs: steps }), values: (_, values) => values.map(axis) },
      ],
      series: [
        {},
        ...Array.from({ length: series }, (_, index) => ({
          stroke: () => ink(colour(index, series)),
          fill: filled && !index ? () => ink(colour(0, series)) + FAINT : undefined,
          width,
          dash: index && series === 2 && !filled ? [5, 3] : undefined,
          points: { show: false },
        })),
      ],
      hooks: { setCursor: [({ cursor }) => this.#point(cursor.idx ?? null)] },
    };
  }
}
