/**
 * Some hundred clients of one channel, which come back by themselves: `node listeners.js JSON`.
 *
 * The JSON is what `tests/coming_back/jitter.py` says. The process prints `"ready"` when all have
 * subscribed, and `"done"` when all have got as far as the last message. When its stdin ends, it
 * prints what each of them noted, a line for each, and ends. Lines are JSON.
 *
 * `tests/coming_back/listeners.py` is the same for the client in Python.
 */

import { WebSocket } from "ws";
import { connect, PositionLost } from "../../src/index.js";

/** Milliseconds. */
const BACKOFF = { first: 50, cap: 500 };

/** One client. Its `urls` are taken in turn, one at each attempt. */
class Listener {
  /** @type {(number | [number, number])[]} runs of numbers; and up to where it was told of a loss */
  noted = [];
  /** How often it came back and nothing was lost. */
  recovered = 0;
  /** How often it came back and something was. */
  refused = 0;

  #last;
  /** @type {() => void} */
  #reach = () => {};

  /** @param {{ urls: string[], number: number, channel: string, last: number }} options */
  constructor({ urls, number, channel, last }) {
    let attempt = number;
    this.#last = last;
    this.client = connect(() => /** @type {string} */ (urls[++attempt % urls.length]), {
      WebSocket: /** @type {any} */ (WebSocket),
      ...BACKOFF,
    });
    this.subscription = this.client.subscribe(channel, {
      onrenewed: ({ recovered }) => {
        if (recovered) this.recovered++;
        else this.refused++;
      },
    });
    this.over = this.#listen();
  }

  /** Listen until the last message came, or the loss of it. */
  async #listen() {
    const reached = new Promise((resolve) => (this.#reach = () => resolve(null)));
    const reading = this.#read();
    const left = reading.then(() => Promise.reject(new Error("the subscription has ended")));
    await Promise.race([reached, left]);
    left.catch(() => {}); // from now on it may
    // what was sent before the answer, and should not have been, has come then, too
    await this.client.history(this.subscription.channel, { limit: 1 });
    this.subscription.close();
    await reading; // what was queued
    await this.client.close();
  }

  async #read() {
    for (;;) {
      try {
        for await (const { data, position } of this.subscription) {
          if (position?.offset !== data) throw new Error(`${data} is at ${position?.offset}`);
          this.#heard(data);
        }
        return;
      } catch (error) {
        if (!(error instanceof PositionLost)) throw error;
        this.noted.push(error.offset);
        this.#at(error.offset);
      }
    }
  }

  /** @param {number} number */
  #heard(number) {
    const run = this.noted.at(-1);
    if (Array.isArray(run) && number === run[1] + 1) run[1] = number;
    else this.noted.push([number, number]);
    this.#at(number);
  }

  /** @param {number} offset */
  #at(offset) {
    if (offset >= this.#last) this.#reach();
  }
}

/** @param {unknown} what */
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

const { clients, ...options } = JSON.parse(/** @type {string} */ (process.argv[2]));
const listeners = Array.from({ length: clients }, (_, number) => new Listener({ ...options, number }));

process.stdin.resume().once("end", () => {
  for (const { noted, recovered, refused } of listeners) say({ noted, recovered, refused });
  process.stdout.write("", () => process.exit());
});

await Promise.all(listeners.map(({ subscription }) => subscription.opened()));
say("ready");
await Promise.all(listeners.map(({ over }) => over));
say("done");
