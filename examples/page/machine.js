/** The charts of the machine, and what stands above each: the values of now, or where one points. */

import { Chart } from "./charts.js";
import { Columns } from "./columns.js";
import { element, find } from "./elements.js";
import { count, decimal, percent, rate, shortRate, size, timeOfDay } from "./units.js";

/** @typedef {import("/openapi.js").Message} Message */

/**
 * A value that stands above a chart.
 *
 * @typedef {object} Value
 * @property {string} text
 * @property {string} [label]
 * @property {string} [colour] that of its line, where there are two
 */

/**
 * @typedef {object} Panel
 * @property {string} id of its card
 * @property {string} event of the channel
 * @property {(data: any) => number[]} row what is drawn of a message
 * @property {(row: number[]) => Value[]} values what stands above
 * @property {(data: any) => string} more what stands beside these, of the newest message
 * @property {import("./charts.js").Look} look
 */

/** Seconds that the charts look back: as long as the server keeps. */
const SECONDS = 300;

/** What is drawn of a machine with more: the first ones. */
const CORES = 64;

/** How messages of the channel `host` are kept: four for each second. */
export const KEPT = 4 * SECONDS;

const PERCENT = { most: 100, steps: [50], axis: (/** @type {number} */ value) => `${value} %` };

/** Bytes are counted in powers of two, and so are the steps of their axis. */
const RATES = { axis: shortRate, steps: Array.from({ length: 40 }, (_, power) => 2 ** (power - 2)) };

/** @type {Panel[]} */
const PANELS = [
  {
    id: "cpu",
    event: "cpu",
    row: ({ percent }) => [percent],
    values: ([all]) => [{ text: percent(all ?? 0) }],
    more: ({ load }) => `load ${decimal(load)}`,
    look: { ...PERCENT, colour: () => "--cpu", filled: true },
  },
  {
    id: "cores",
    event: "cpu",
    row: ({ cores }) => cores.slice(0, CORES),
    values: (cores) => [{ text: percent(Math.max(0, ...cores)) }],
    more: ({ cores }) => (cores.length === 1 ? "the only one" : `the busiest of ${count(cores.length)}`),
    look: {
      ...PERCENT,
      width: 1.25,
      colour: (index, all) => `hsl(${Math.round(212 + (index * 300) / all) % 360} 62% 52%)`,
    },
  },
  {
    id: "memory",
    event: "memory",
    row: ({ percent }) => [percent],
    values: ([used]) => [{ text: percent(used ?? 0) }],
    more: ({ used_mib, total_mib }) => `${size(used_mib)} of ${size(total_mib)}`,
    look: { ...PERCENT, colour: () => "--memory", filled: true },
  },
  {
    id: "disk",
    event: "disk",
    row: ({ read_kib, written_kib }) => [read_kib, written_kib],
    values: ([read, written]) => [
      { label: "read", text: rate(read ?? 0), colour: "one" },
      { label: "written", text: rate(written ?? 0), colour: "two" },
    ],
    more: ({ percent }) => `${Math.round(percent)} % full`,
    look: { ...RATES, least: 16, colour: (index) => (index ? "--written" : "--read") },
  },
  {
    id: "network",
    event: "network",
    row: ({ received_kib, sent_kib }) => [received_kib, sent_kib],
    values: ([received, sent]) => [
      { label: "in", text: rate(received ?? 0), colour: "one" },
      { label: "out", text: rate(sent ?? 0), colour: "two" },
    ],
    more: () => "",
    look: { ...RATES, least: 4, colour: (index) => (index ? "--sent" : "--received") },
  },
];

/** One chart, with its card. */
class Part {
  #panel;
  #columns = new Columns(SECONDS);
  #chart;
  #now;
  /** @type {any} the newest message's */
  #data = null;
  /** @type {number | null} */
  #pointed = null;

  /** @param {Panel} panel */
  constructor(panel) {
    this.#panel = panel;
    const card = find(`#${panel.id}`);
    this.#now = find(".now", card);
    this.#chart = new Chart(find(".plot", card), this.#columns, SECONDS, panel.look, (row) => {
      if (row === this.#pointed) return;
      this.#pointed = row;
      this.#say();
    });
  }

  get event() {
    return this.#panel.event;
  }

  get rows() {
    return this.#columns.at.length;
  }

  /** @param {number} at @param {any} data */
  add(at, data) {
    this.#columns.add(at, this.#panel.row(data));
    this.#data = data;
  }

  /** @param {number} at */
  from(at) {
    this.#columns.from(at);
  }

  /** @param {number} end */
  draw(end) {
    this.#chart.draw(end);
    this.#say();
  }

  #say() {
    if (!this.#data) return;
    const { at, values } = this.#columns;
    const index = this.#pointed !== null && this.#pointed < at.length ? this.#pointed : null;
    const row = index === null ? this.#panel.row(this.#data) : values.map((column) => column[index] ?? NaN);
    const known = !row.some(Number.isNaN);
    const shown = known ? this.#panel.values(row) : [{ text: "nothing is known" }];
    const more = index === null ? this.#panel.more(this.#data) : `at ${timeOfDay((at[index] ?? 0) * 1000)}`;
    this.#now.replaceChildren(
      ...(more ? [element("span", "more", more)] : []),
      ...shown.map(({ label, text, colour }) =>
        element("span", `value ${colour ?? ""}`, ...(label ? [element("small", "", label)] : []), text),
      ),
    );
  }
}

/** All of them. */
export class Machine {
  #parts = PANELS.map((panel) => new Part(panel));
  #bars = find("#cores .bars");
  /** How much the server's clock is ahead, in milliseconds. */
  #ahead = 0;
  #drawn = 0;

  constructor() {
    // While nothing comes time goes on, and the charts with it.
    setInterval(() => {
      if (this.#drawn && Date.now() - this.#drawn > 1500 && !document.hidden) this.#draw();
    }, 1000);
    document.addEventListener("visibilitychange", () => {
      if (this.#drawn && !document.hidden) this.#draw();
    });
  }

  /** @param {Message[]} messages all that is kept, the oldest first */
  load(messages) {
    const [first] = messages;
    if (!first) return;
    // What the page knows from before stays: it is no less true if the server has forgotten it.
    for (const part of this.#parts) part.from(momentOf(first));
    for (const message of messages) this.#take(message);
    this.#draw();
  }

  /** @param {Message} message */
  add(message) {
    this.#take(message);
    this.#ahead = momentOf(message) * 1000 - Date.now();
    // It is the last of the four of each second.
    if (message.event === "network" && !document.hidden) this.#draw();
  }

  /** @param {Message} message */
  #take(message) {
    const { event, data } = message;
    for (const part of this.#parts) if (part.event === event) part.add(momentOf(message), data);
    if (event === "cpu") this.#showBars(data.cores.slice(0, CORES));
  }

  #draw() {
    this.#drawn = Date.now();
    for (const part of this.#parts) part.draw((this.#drawn + this.#ahead) / 1000);
    find("#main").dataset["points"] = String(Math.min(...this.#parts.map(({ rows }) => rows)));
  }

  /** @param {number[]} cores */
  #showBars(cores) {
    while (this.#bars.children.length < cores.length) this.#bars.append(element("i", ""));
    while (this.#bars.children.length > cores.length) this.#bars.lastChild.remove();
    cores.forEach((core, index) => this.#bars.children[index].style.setProperty("--used", `${core}%`));
    const used = cores.map((core) => `${Math.round(core)} %`).join(", ");
    this.#bars.setAttribute("aria-label", `Use of each core now: ${used}`);
  }
}

/** @param {Message} message @returns {number} seconds since the epoch */
const momentOf = ({ data }) => Date.parse(data.at) / 1000;
