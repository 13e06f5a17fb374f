// What the page of the demo shows of a channel that keeps history, against the demo itself.

import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../src/index.js";
import { KeptChannel } from "./modules.js";
import { Monitor, Relay } from "./monitor.js";

/** @typedef {import("../../src/index.js").Message} Message */

/** How many the demo keeps of its notes. */
const KEPT = 100;

/** @type {Monitor} */
let monitor;
/** @type {import("../../src/index.js").Client} who publishes */
let publisher;
let published = 0;

before(async () => {
  monitor = await Monitor.start();
  publisher = connect(`${monitor.url}stream`, { WebSocket: /** @type {any} */ (WebSocket) });
});

after(async () => {
  await publisher.close();
  await monitor.stop();
});

/** @param {number} many notes, each with a number of its own */
const publish = (many) =>
  Promise.all(Array.from({ length: many }, () => publisher.publish("notes", "note", { number: published++ })));

/** What is shown: numbers, and what else happened. */
class Shown {
  /** @type {number[]} */
  numbers = [];
  loads = 0;
  losses = 0;
  /** @type {number[]} */
  missed = [];
  /** @type {unknown[]} */
  failures = [];
  /** @type {(() => void)[]} */
  #waiting = [];

  load = (/** @type {Message[]} */ messages) => {
    this.loads++;
    this.numbers = messages.map(({ data }) => data.number);
    this.#changed();
  };

  add = (/** @type {Message} */ { data }) => {
    this.numbers.push(data.number);
    this.#changed();
  };

  recovered = (/** @type {number} */ missed) => {
    this.missed.push(missed);
    this.#changed();
  };

  lost = () => void this.losses++;

  failed = (/** @type {unknown} */ error) => {
    this.failures.push(error);
    this.#changed();
  };

  /** @param {() => boolean} is wait until it is so */
  async until(is) {
    while (!is()) await new Promise((resolve) => this.#waiting.push(() => resolve(null)));
  }

  #changed() {
    for (const each of this.#waiting.splice(0)) each();
  }
}

/** @param {number[]} numbers that they go on by one */
function goOn(numbers) {
  const [first = 0] = numbers;
  assert.deepEqual(
    numbers,
    numbers.map((_, index) => first + index),
  );
}

/** @param {import("node:test").TestContext} t @param {string} [url] */
function client(t, url = monitor.url) {
  const made = connect(`${url}stream`, { WebSocket: /** @type {any} */ (WebSocket) });
  t.after(() => made.close());
  return made;
}

const TIMEOUT = { timeout: 60_000 };

it("what is kept and what comes are one sequence, whatever is published meanwhile", TIMEOUT, async (t) => {
  await publish(2 * KEPT);
  for (let round = 0; round < 10; round++) {
    const shown = new Shown();
    const channel = new KeptChannel(client(t), "notes", KEPT, shown);
    const publishing = publish(30);
    await shown.until(() => shown.loads === 1);
    await publishing;
    await publish(1);
    await shown.until(() => shown.numbers.at(-1) === published - 1);
    assert.ok(shown.numbers.length >= KEPT);
    goOn(shown.numbers);
    assert.deepEqual([shown.loads, shown.losses, channel.skipped], [1, 0, 0]);
  }
});

it("what was missed comes late, and is counted", TIMEOUT, async (t) => {
  const relay = new Relay(monitor.port);
  const shown = new Shown();
  const channel = new KeptChannel(client(t, await relay.start()), "notes", KEPT, shown);
  t.after(() => relay.stop());
  await shown.until(() => shown.loads === 1);
  await relay.away(() => publish(20));
  await shown.until(() => shown.missed.length === 2);
  assert.deepEqual(shown.missed, [0, 20]);
  goOn(shown.numbers);
  assert.deepEqual([shown.loads, shown.losses, channel.skipped, channel.received], [1, 0, 0, 20]);
});

it("what is lost has all loaded anew", TIMEOUT, async (t) => {
  const relay = new Relay(monitor.port);
  const shown = new Shown();
  const channel = new KeptChannel(client(t, await relay.start()), "notes", KEPT, shown);
  t.after(() => relay.stop());
  await shown.until(() => shown.loads === 1);
  await relay.away(() => publish(3 * KEPT));
  await shown.until(() => shown.loads === 2);
  await publish(1);
  await shown.until(() => shown.numbers.at(-1) === published - 1);
  assert.equal(shown.numbers.length, KEPT + 1);
  goOn(shown.numbers);
  assert.deepEqual([shown.losses, shown.missed, channel.received], [1, [0], 1]);
});

it("a channel that is refused has failed", TIMEOUT, async (t) => {
  const shown = new Shown();
  new KeptChannel(client(t), "x".repeat(10_000), KEPT, shown);
  await shown.until(() => shown.failures.length > 0);
  assert.match(String(shown.failures[0]), /CallFailed/);
  assert.equal(shown.loads, 0);
});
