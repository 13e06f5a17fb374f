// Make before break: the next connection is made before the last one is left.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { kept, lost, message, open, recovered, read, refusal, settled } from "./stage.js";

const reconnect = (after = 100) => ({ event: "$reconnect", data: { after, code: 1012 } });

/** What a server answers to `subscribe` on a channel that keeps no history. */
const plain = { subscribed: {} };

/** A message on such a channel. @param {string} data */
const said = (data) => ({ channel: "c", event: "x", data });

const shuttingDown = { code: -32009, message: "shutting down", retry_after: 5 };

/** @param {import("node:test").TestContext} t @param {Parameters<typeof open>[1]} [options] */
async function stage(t, options) {
  const stage = await open(t, options);
  const { peer, client, clock, server, until } = stage;
  /** The server says so, and the client makes the next connection. */
  const move = async (from = peer) => {
    from.send(reconnect());
    await until("open");
    clock.pass(100);
    await until("open");
    const next = await server.accept();
    await until("open");
    return next;
  };
  /** A subscription that the server has agreed to. @param {object} [agreed] */
  const subscribed = async (agreed = kept(1)) => {
    const subscription = client.subscribe("c");
    await peer.answer(agreed);
    return subscription.opened();
  };
  /** The server says so, and refuses what it was asked. @param {unknown} id */
  const shutDown = (id) => {
    peer.send(reconnect());
    peer.send({ id, error: shuttingDown });
  };
  return { ...stage, client, move, subscribed, shutDown };
}

describe("a server that is about to end", () => {
  it("has the client make another connection when it says, and leave this one", async (t) => {
    const { peer, client, clock, until, server } = await stage(t);
    peer.send(reconnect(700));
    assert.deepEqual(await until("open"), { state: "open", reason: undefined, retryIn: 700 });
    clock.pass(700);
    const next = await server.accept();
    assert.deepEqual(await peer.closed, [1000, "moved"]);
    await settled(client, next);
    assert.equal(client.state, "open");
  });

  it("gets no calls any more; these are sent on the next connection", async (t) => {
    const { peer, client, move } = await stage(t);
    const before = client.call("a", {}, { timeout: null });
    const { id } = await peer.next();
    peer.send(reconnect(0));
    const call = client.call("ping").then(() => client.call("b"));
    await peer.answer(null);
    const next = await move();
    assert.equal((await next.answer("b")).method, "b");
    assert.equal(await call, "b");
    peer.send({ id, response: "a" });
    assert.equal(await before, "a");
    assert.deepEqual(await peer.closed, [1000, "moved"]);
  });

  it("that refuses a call, as it shuts down, has it sent on the next, marked or not", async (t) => {
    const { peer, client, move, shutDown } = await stage(t);
    const call = client.call("order");
    const { id } = await peer.next();
    shutDown(id);
    const next = await move();
    assert.equal((await next.answer("done")).method, "order");
    assert.equal(await call, "done");
  });

  it("that refuses a call though it said nothing before has refused it", async (t) => {
    const { peer, client } = await stage(t);
    const call = refusal(client.call("order"));
    await peer.refuse(shuttingDown);
    assert.equal((await call).code, -32009);
  });

  it("whose refused call ends with the client: it has not run", async (t) => {
    const { peer, client, until, shutDown } = await stage(t);
    const call = refusal(client.call("order"));
    const { id } = await peer.next();
    shutDown(id);
    peer.close(4501);
    await until("closed");
    assert.equal((await call).mayHaveRun, false);
  });

  it("is used as long as it lasts when the next cannot be reached", async (t) => {
    const { peer, client, clock, until, server } = await stage(t);
    const running = client.call("a");
    const { id } = await peer.next();
    server.server.options.verifyClient = () => false;
    peer.send(reconnect());
    await until("open");
    clock.pass(100);
    await until("open");
    const failed = await until("open");
    assert.match(failed.reason?.message ?? "", /401/);
    assert.equal(failed.retryIn, 250);
    peer.send({ id, response: "a" });
    assert.equal(await running, "a");
    peer.close(1012);
    assert.equal((await until("waiting")).reason?.code, 1012);
  });

  it("may be gone before the next is there", async (t) => {
    const { peer, clock, until, server, subscribed } = await stage(t);
    const subscription = await subscribed();
    peer.send(reconnect(500));
    await until("open");
    peer.close(1012);
    assert.equal((await until("waiting")).retryIn, 500);
    clock.pass(500);
    const next = await server.accept();
    await next.answer(recovered(2, [2]));
    assert.equal((await read(subscription)).data, 2);
  });

  it("may be lost while the next is being connected to", async (t) => {
    const { peer, clock, until, server } = await stage(t, { url: (/** @type {string} */ url) => url });
    peer.send(reconnect());
    await until("open");
    clock.pass(100);
    peer.cut();
    const next = await server.accept();
    await until("open");
    next.close(4501);
    await until("closed");
  });

  it("that is on its way out already may say so again", async (t) => {
    const { peer, client, move } = await stage(t);
    const call = client.call("a");
    const { id } = await peer.next();
    const next = await move();
    peer.send(reconnect(0));
    peer.send({ id, response: 1 });
    await call;
    await settled(client, next);
    assert.equal(client.status.retryIn, undefined);
  });

  it("may be one of many, one after another, whose calls are all in flight: the oldest is left", async (t) => {
    const { peer, client, move } = await stage(t);
    const calls = [];
    const peers = [peer];
    for (let i = 0; i < 10; i++) {
      const from = /** @type {typeof peer} */ (peers.at(-1));
      calls.push(refusal(client.call("wait", { i }, { timeout: null })));
      await from.next();
      peers.push(await move(from));
    }
    assert.equal((await calls[0]).mayHaveRun, true);
    assert.equal((await calls[1]).mayHaveRun, true);
    await peer.closed;
    assert.equal(peers[2]?.socket.readyState, 1);
    await client.close();
    await Promise.all(calls);
    await Promise.all(peers.map((each) => each.closed));
  });
});

describe("while it moves, a subscription", () => {
  it("has its messages from the old connection, and from the new one when that has agreed, each once", async (t) => {
    const { peer, client, move, subscribed } = await stage(t);
    const subscription = await subscribed();
    const next = await move();
    const { id, payload } = await next.next();
    assert.deepEqual(payload.recover, { offset: 1, epoch: "e" });
    peer.send(message(2));
    peer.send(message(3));
    assert.deepEqual([(await read(subscription)).data, (await read(subscription)).data], [2, 3]);
    next.send({ id, response: recovered(2, [2]) });
    next.send(message(3));
    next.send(message(4));
    assert.equal((await read(subscription)).data, 4);
    assert.deepEqual(await peer.closed, [1000, "moved"]);
    assert.equal(subscription.recovered, true);
    assert.deepEqual(subscription.position, { offset: 4, epoch: "e" });
    await settled(client, next);
    assert.equal(client.ignored, 0);
  });

  it("is not told that something is lost, where the old connection has brought it", async (t) => {
    const { peer, move, subscribed } = await stage(t);
    const subscription = await subscribed();
    const next = await move();
    const { id } = await next.next();
    peer.send(message(2));
    assert.equal((await read(subscription)).data, 2);
    next.send({ id, response: lost(2) });
    next.send(message(3));
    assert.equal((await read(subscription)).data, 3);
  });

  it("without a history gets what is on its way on the old connection, which is closed behind that", async (t) => {
    const { peer, client, move, subscribed } = await stage(t);
    const subscription = await subscribed(plain);
    const next = await move();
    await next.answer(plain);
    const { id, method } = await peer.next();
    assert.equal(method, "rpc.ping");
    peer.send(said("old"));
    peer.send({ id, response: null });
    assert.equal((await read(subscription)).data, "old");
    assert.deepEqual(await peer.closed, [1000, "moved"]);
    next.send(said("new"));
    assert.equal((await read(subscription)).data, "new");
    await settled(client, next);
    assert.equal(client.ignored, 0);
  });

  it("without a history gets all that is on its way, though another one is left at that moment", async (t) => {
    const { peer, client, move } = await stage(t);
    const other = client.subscribe("d");
    await peer.answer(plain);
    const subscription = client.subscribe("c", { onrenewed: () => other.close() });
    await peer.answer(plain);
    await subscription.opened();
    const next = await move();
    await next.next();
    await next.answer(plain);
    peer.send(said("old"));
    await peer.answer(null);
    assert.equal((await read(subscription)).data, "old");
    assert.deepEqual(await peer.closed, [1000, "moved"]);
  });

  it("is the new connection's, once that has agreed: the old one cannot take it back, nor say that it is lost", async (t) => {
    const { peer, move, subscribed } = await stage(t);
    const subscription = await subscribed(plain);
    const next = await move();
    await next.answer(plain);
    peer.send({ channel: "c", event: "$reset", data: { offset: 1, epoch: "e" } });
    peer.send({ channel: "c", event: "$unsubscribed", data: { code: 1, message: "old" } });
    peer.send(said("old"));
    assert.equal((await read(subscription)).data, "old");
    await peer.answer(null);
    await peer.closed;
    next.send(said("new"));
    assert.equal((await read(subscription)).data, "new");
  });

  it("without a history goes on where the old connection ends before it has answered", async (t) => {
    const { peer, client, move, subscribed } = await stage(t);
    const subscription = await subscribed(plain);
    const next = await move();
    await next.answer(plain);
    await peer.next();
    peer.cut();
    next.send(said("new"));
    assert.equal((await read(subscription)).data, "new");
    await settled(client, next);
    assert.equal(client.state, "open");
  });

  it("asks nothing of an old connection that has ended before the new one agrees", async (t) => {
    const { peer, client, move, subscribed } = await stage(t);
    const subscription = await subscribed(plain);
    const next = await move();
    const { id } = await next.next();
    peer.close(1012);
    await peer.closed;
    await settled(client, next);
    next.send({ id, response: plain });
    next.send(said("new"));
    assert.equal((await read(subscription)).data, "new");
    assert.equal(peer.unread, 0);
  });

  it("asks nothing of the old connection where the channel keeps history", async (t) => {
    const { peer, move, subscribed } = await stage(t);
    await subscribed();
    const next = await move();
    await next.answer(recovered(1, []));
    assert.deepEqual(await peer.closed, [1000, "moved"]);
    assert.equal(peer.unread, 0);
  });

  it("gets nothing of the old connection once that has told all, though a call is in flight there", async (t) => {
    const { peer, client, move, subscribed } = await stage(t);
    const subscription = await subscribed(plain);
    const running = client.call("a"); // which keeps the old connection
    const { id } = await peer.next();
    const next = await move();
    await next.answer(plain);
    await peer.answer(null);
    peer.send(said("old"));
    peer.send({ channel: "c", event: "$unsubscribed", data: { code: 1, message: "old" } });
    peer.send({ id, response: 1 });
    await running;
    next.send(said("new"));
    assert.equal((await read(subscription)).data, "new");
  });

  it("that the old connection agrees to late is asked for on the new one too", async (t) => {
    const { peer, client, move } = await stage(t);
    const subscription = client.subscribe("c");
    const { id } = await peer.next();
    const next = await move();
    peer.send({ id, response: kept(3) });
    await subscription.opened();
    assert.deepEqual((await next.answer(recovered(4, [4]))).payload.recover, { offset: 3, epoch: "e" });
    assert.equal((await read(subscription)).data, 4);
    await peer.closed;
  });

  it("that the old server refuses, as it shuts down, is asked for on the new one", async (t) => {
    const { peer, client, move, shutDown } = await stage(t);
    const subscription = client.subscribe("c");
    const { id } = await peer.next();
    shutDown(id);
    const next = await move();
    await next.answer(kept(1));
    assert.equal(await subscription.opened(), subscription);
  });

  it("that is left is not unsubscribed there, and does not keep the old connection", async (t) => {
    const { peer, move, subscribed } = await stage(t);
    const subscription = await subscribed();
    const next = await move();
    const { id } = await next.next();
    subscription.close();
    assert.deepEqual(await peer.closed, [1000, "moved"]);
    assert.equal(peer.unread, 0);
    assert.deepEqual(await next.next(), { id, cancel: true });
  });

  it("that has ended by the old connection's end waits for the new one", async (t) => {
    const { peer, client, move, subscribed } = await stage(t);
    const subscription = await subscribed();
    const next = await move();
    const { id } = await next.next();
    peer.close(1012);
    await peer.closed;
    next.send({ id, response: recovered(2, [2]) });
    assert.equal((await read(subscription)).data, 2);
    assert.equal(client.state, "open");
  });
});
