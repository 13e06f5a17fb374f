// Whatever happens to its connections, a subscription to a channel that keeps history has each message
// once and in order, or is told. Here a server does what the wire allows, at random; a seed is a life.

import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { describe, it } from "node:test";
import { PositionLost } from "./module.js";
import { begin, read } from "./stage.js";

const SEEDS = 60;
const STEPS = 40;
const KEPT = 8;

/** Numbers from 0 to 1, the same for each seed (mulberry32). @param {number} seed */
function dice(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A channel that keeps its last messages, and who listens to it. */
class Channel {
  offset = 0;
  /** @type {{ channel: string, event: string, data: number, offset: number }[]} */
  messages = [];
  /** @type {Set<import("./server.js").Peer>} */
  listeners = new Set();
  /** @type {Map<import("./server.js").Peer, any[]>} what is not answered yet */
  waiting = new Map();

  /** @param {import("./server.js").Peer} peer */
  async serve(peer) {
    this.waiting.set(peer, []);
    void peer.closed.then(() => {
      this.listeners.delete(peer);
      this.waiting.delete(peer);
    });
    for (;;) {
      const frame = await peer.next();
      if (!frame.cancel) this.waiting.get(peer)?.push(frame);
    }
  }

  publish() {
    const offset = ++this.offset;
    const message = { channel: "c", event: offset % 3 ? "a" : "b", data: offset, offset };
    this.messages.push(message);
    if (this.messages.length > KEPT) this.messages.shift();
    for (const peer of this.listeners) peer.send(message);
  }

  /** Answer what waits on a connection, the oldest first. @param {import("./server.js").Peer} peer */
  answer(peer) {
    const frame = this.waiting.get(peer)?.shift();
    if (!frame) return;
    const { id, method, payload } = frame;
    const answer = { subscribed: {}, offset: this.offset, epoch: "e" };
    if (method === "subscribe") {
      this.listeners.add(peer);
      if (payload.recover) {
        const missed = this.messages.filter(({ offset }) => offset > payload.recover.offset);
        const recovered = this.offset - payload.recover.offset <= missed.length;
        const fits = missed.filter(({ event }) => payload.event === "*" || payload.event === event);
        Object.assign(answer, { recovered, messages: recovered ? fits : [] });
      }
    }
    if (id !== null) peer.send({ id, method, response: answer });
  }
}

/**
 * Read to the last message.
 *
 * @param {import("../src/subscription.js").Subscription} subscription
 * @param {(offset: number) => boolean} fits
 * @param {number} last
 */
async function check(subscription, fits, last) {
  let at = 0;
  while (at < last) {
    try {
      const { data, position } = await read(subscription);
      const offset = position?.offset ?? 0;
      assert.ok(offset > at, `${offset} came behind ${at}`);
      assert.deepEqual([data, fits(offset)], [offset, true]);
      for (let missed = at + 1; missed < offset; missed++) assert.ok(!fits(missed), `${missed} did not come, ${offset} did`);
      at = offset;
    } catch (error) {
      if (!(error instanceof PositionLost)) throw error;
      assert.ok(error.offset > at, `lost at ${error.offset}, behind ${at}`);
      at = error.offset;
    }
  }
}

describe("a subscription", () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    it(`has each message once and in order, or is told, in life ${seed}`, async (t) => {
      const roll = dice(seed);
      const { server, client, clock } = await begin(t);
      clock.random = roll;
      const channel = new Channel();
      /** @type {import("./server.js").Peer[]} */
      const peers = [];
      void (async () => {
        for (;;) {
          const peer = await server.accept();
          peers.push(peer);
          void channel.serve(peer);
        }
      })();
      /** Have all that was said answered until it is over. @template T @param {Promise<T>} done */
      const calmly = async (done) => {
        let over = false;
        const calm = (async () => {
          while (!over) {
            clock.pass(client.status.retryIn ?? 0);
            for (const peer of peers) channel.answer(peer);
            await setImmediate();
          }
        })();
        await done.finally(() => (over = true));
        await calm;
      };
      const all = client.subscribe("c");
      const some = client.subscribe("c", { event: "b" });
      await calmly(Promise.all([all.opened(), some.opened()]));
      for (let step = 0; step < STEPS; step++) {
        const peer = peers[Math.floor(roll() * peers.length)];
        const what = roll();
        if (what < 0.4) channel.publish();
        else if (what < 0.65) peer && channel.answer(peer);
        else if (what < 0.75) peer?.cut();
        else if (what < 0.85) peer?.send({ event: "$reconnect", data: { after: 100 * roll(), code: 1012 } });
        else clock.pass(1000 * roll());
        if (roll() < 0.5) await setImmediate();
      }
      // In the end there is a connection, all is answered, and more comes.
      for (let n = 0; n < 3; n++) channel.publish();
      const last = channel.offset;
      await calmly(Promise.all([check(all, () => true, last), check(some, (offset) => offset % 3 === 0, last - (last % 3))]));
      assert.equal(client.ignored, 0);
    });
  }
});
