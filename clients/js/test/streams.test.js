// Streams: calls that are answered with items.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CallFailed, ConnectionClosed, TooSlow } from "./module.js";
import { begin, open, refusal, settled } from "./stage.js";

/** @param {number} id @param {number} seq */
const item = (id, seq) => ({ id, method: "count", item: { n: seq }, seq });

describe("a stream", () => {
  it("calls its method when it is first read, and gives its items in their order", async (t) => {
    const { client, peer } = await open(t);
    const stream = client.stream("count", { to: 2 });
    await settled(client, peer);
    const read = (async () => {
      const items = [];
      for await (const each of stream) items.push(each);
      return items;
    })();
    const { id, payload, timeout } = await peer.next();
    assert.deepEqual([payload, timeout], [{ to: 2 }, undefined]);
    peer.send(item(id, 1));
    peer.send(item(id, 2));
    peer.send({ id, method: "count", response: null });
    assert.deepEqual(await read, [{ n: 1 }, { n: 2 }]);
    assert.equal(stream.response, null);
    assert.deepEqual(await stream.next(), { done: true, value: undefined });
  });

  it("of a method that is none has no items, and its answer", async (t) => {
    const { client, peer } = await open(t);
    const stream = client.stream("add");
    const read = stream.next();
    await peer.answer({ sum: 3 });
    assert.deepEqual(await read, { done: true, value: undefined });
    assert.deepEqual(stream.response, { sum: 3 });
  });

  it("keeps what came before a failure", async (t) => {
    const { client, peer } = await open(t);
    const stream = client.stream("count");
    const first = stream.next();
    const { id } = await peer.next();
    peer.send(item(id, 1));
    peer.send({ id, error: { code: 7, message: "that was all" } });
    assert.deepEqual((await first).value, { n: 1 });
    const error = await refusal(stream.next());
    assert.ok(error instanceof CallFailed);
    assert.equal(error.code, 7);
  });

  it("is left by break, and the server is told", async (t) => {
    const { client, peer } = await open(t);
    const read = (async () => {
      for await (const each of client.stream("count")) return each;
    })();
    const { id } = await peer.next();
    peer.send(item(id, 1));
    assert.deepEqual(await read, { n: 1 });
    assert.deepEqual(await peer.next(), { id, cancel: true });
    peer.send(item(id, 2));
    peer.send({ id, error: { code: -32006, message: "Cancelled" } });
    await settled(client, peer);
    assert.equal(client.ignored, 0);
  });

  it("that was left before it was read calls nothing", async (t) => {
    const { client, peer } = await open(t);
    const stream = client.stream("count");
    stream.close();
    assert.deepEqual(await stream.next(), { done: true, value: undefined });
    await settled(client, peer);
  });

  it("is left by its signal, and says why", async (t) => {
    const { client, peer } = await open(t);
    const controller = new AbortController();
    const stream = client.stream("count", {}, { signal: controller.signal });
    const read = refusal(stream.next());
    const { id } = await peer.next();
    controller.abort("enough");
    assert.equal(await read, "enough");
    assert.deepEqual(await peer.next(), { id, cancel: true });
  });

  it("is given up when an item takes too long, each time anew", async (t) => {
    const { client, peer, clock } = await open(t);
    const stream = client.stream("count", {}, { timeout: 100 });
    const first = stream.next();
    const { id, timeout } = await peer.next();
    assert.equal(timeout, 100);
    clock.pass(99);
    peer.send(item(id, 1));
    await first;
    clock.pass(99); // nobody reads
    const second = refusal(stream.next());
    clock.pass(99);
    await settled(client, peer);
    clock.pass(1);
    assert.equal((await second).name, "TimeoutError");
    assert.deepEqual(await peer.next(), { id, cancel: true });
  });

  it("ends when too much waits to be read", async (t) => {
    const { client, peer } = await open(t);
    const stream = client.stream("count", {}, { queueBytes: 1000 });
    const first = stream.next();
    const { id } = await peer.next();
    for (const seq of [1, 2, 3, 4, 5]) peer.send(item(id, seq));
    assert.deepEqual((await first).value, { n: 1 });
    assert.deepEqual(await peer.next(), { id, cancel: true });
    /** @type {unknown[]} */
    const seen = [];
    const error = await refusal(
      (async () => {
        for await (const each of stream) seen.push(each);
      })(),
    );
    assert.ok(error instanceof TooSlow);
    assert.match(error.message, /too much of count waited to be read: read faster, or raise queueBytes/);
    assert.deepEqual(seen, [{ n: 2 }, { n: 3 }, { n: 4 }]);
  });

  it("ends with the connection, and may have run", async (t) => {
    const { client, peer, lose, back } = await open(t);
    const stream = client.stream("count");
    const first = stream.next();
    const { id } = await peer.next();
    peer.send(item(id, 1));
    await first;
    await lose();
    const error = await refusal(stream.next());
    assert.ok(error instanceof ConnectionClosed);
    assert.equal(error.mayHaveRun, true);
    await settled(client, await back());
  });

  it("that waits for a connection is sent when there is one", async (t) => {
    const { client, server } = await begin(t);
    const first = client.stream("count").next();
    const peer = await server.accept();
    const { id } = await peer.next();
    peer.send(item(id, 1));
    assert.deepEqual((await first).value, { n: 1 });
  });
});
