// The client and a server of Python, whose network and whose process fail.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { WebSocket } from "ws";
import { connect } from "./module.js";
import { read } from "./stage.js";
import { Worlds } from "./worlds.js";

/** @type {Worlds} */
let worlds;

before(async () => {
  worlds = await Worlds.start();
});

after(() => worlds.stop());

/** A client that comes back at once. @param {import("node:test").TestContext} t */
async function site(t) {
  const world = await worlds.open("site");
  t.after(() => world.close());
  const client = connect(new URL("stream", world.url), { WebSocket, first: 20, cap: 20 });
  t.after(() => client.close());
  return { world, client };
}

/** The data of so many messages. @param {import("../src/subscription.js").Subscription} subscription @param {number} count */
async function data(subscription, count) {
  const found = [];
  while (found.length < count) found.push((await read(subscription)).data);
  return found;
}

describe("a client in Node.js", () => {
  it("misses nothing while its server is killed and started again", async (t) => {
    const { world, client } = await site(t);
    const news = await client.subscribe("news").opened();
    await world.act("publish", [1, 2]);
    assert.deepEqual(await data(news, 2), [1, 2]);
    await world.act("kill");
    await world.act("publish", [3, 4]);
    await world.act("start");
    assert.deepEqual(await data(news, 2), [3, 4]);
    assert.equal(news.recovered, true);
    await world.act("publish", [5]);
    assert.deepEqual(await data(news, 1), [5]);
    const { messages, position } = await client.history("news");
    assert.deepEqual(messages.map(({ data }) => data), [1, 2, 3, 4, 5]);
    assert.deepEqual(position, news.position);
  });

  it("misses nothing, and has nothing twice, while its connections are cut again and again", async (t) => {
    const { world, client } = await site(t);
    const news = await client.subscribe("news").opened();
    const expected = [];
    for (let n = 1; n <= 20; n++) {
      await world.act("publish", [n]);
      if (n % 4 === 0) await world.act("cut");
      expected.push(n);
    }
    assert.deepEqual(await data(news, expected.length), expected);
  });
});
