// Subscriptions: what comes, what was missed, and how they end.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CallFailed, ConnectionClosed, PositionLost, TooSlow, UnexpectedData } from "./module.js";
import { begin, kept, lost, message, open, read, recovered, refusal, reporting, settled } from "./stage.js";

/** The offsets of so many messages. @param {import("../src/subscription.js").Subscription} subscription @param {number} count */
async function offsets(subscription, count) {
  const found = [];
  while (found.length < count) found.push((await read(subscription)).position?.offset);
  return found;
}

/** @param {string} event @param {unknown} data */
const said = (event, data, channel = "c") => ({ channel, event, data });

describe("a subscription", () => {
  it("asks the server, and gives the messages that fit", async (t) => {
    const { client, peer } = await open(t);
    const subscription = client.subscribe("c", { event: "c*", presence: true });
    const call = await peer.answer({ subscribed: { c: ["c*"] } });
    assert.deepEqual([call.method, call.payload], ["subscribe", { channel: "c", event: "c*", presence: true }]);
    assert.equal(await subscription.opened(), subscription);
    peer.send(said("mem", 1));
    peer.send(said("cpu", 2, "another"));
    peer.send(said("cpu", 3));
    assert.deepEqual(await read(subscription), { channel: "c", event: "cpu", data: 3, position: null });
    assert.deepEqual([subscription.position, subscription.recovered, subscription.channel], [null, null, "c"]);
    assert.equal(client.ignored, 0);
  });

  it("is a loop, and is left by leaving that", async (t) => {
    const { client, peer } = await open(t);
    const read = (async () => {
      for await (const each of client.subscribe("c")) return each.data;
    })();
    await peer.answer(kept());
    peer.send(message(1));
    assert.equal(await read, 1);
    const call = await peer.answer({ subscribed: {} });
    assert.deepEqual([call.method, call.payload], ["unsubscribe", { channel: "c", event: "*" }]);
    peer.send(message(2));
    await settled(client, peer);
  });

  it("of no events is one of all, as the server has it", async (t) => {
    for (const event of ["", null]) {
      const { client, peer } = await open(t);
      const subscription = client.subscribe("c", { event: /** @type {any} */ (event) });
      assert.equal(subscription.event, "*");
      assert.equal((await peer.answer({ subscribed: {} })).payload.event, "*");
      peer.send(message(1));
      assert.equal((await read(subscription)).data, 1);
      subscription.close();
      // An empty one would take all patterns of the channel back.
      assert.equal((await peer.answer({})).payload.event, "*");
      await settled(client, peer);
    }
  });

  it("with half of a surrogate pair is told to the caller", async (t) => {
    const { client, peer } = await open(t);
    assert.throws(() => client.subscribe("\ud800"), /a lone surrogate/);
    assert.throws(() => client.subscribe("c", { event: "\udfff" }), /a lone surrogate/);
    await settled(client, peer);
  });

  it("knows where it is, on a channel that keeps history, by what was read", async (t) => {
    const { client, peer } = await open(t);
    const subscription = client.subscribe("c");
    await peer.answer(kept(4));
    await subscription.opened();
    assert.deepEqual(subscription.position, { offset: 4, epoch: "e" });
    peer.send(message(5));
    peer.send(message(6));
    await settled(client, peer);
    assert.deepEqual(subscription.position, { offset: 4, epoch: "e" });
    assert.deepEqual(await read(subscription), { channel: "c", event: "x", data: 5, position: { offset: 5, epoch: "e" } });
    assert.deepEqual(subscription.position, { offset: 5, epoch: "e" });
  });

  it("recovers from a position that it is given", async (t) => {
    const { client, peer } = await open(t);
    const subscription = client.subscribe("c", { recover: { offset: 2, epoch: "e" } });
    const { payload } = await peer.answer(recovered(4, [3, 4]));
    assert.deepEqual(payload.recover, { offset: 2, epoch: "e" });
    await subscription.opened();
    assert.equal(subscription.recovered, true);
    assert.deepEqual(subscription.position, { offset: 2, epoch: "e" });
    peer.send(message(5));
    assert.deepEqual(await offsets(subscription, 3), [3, 4, 5]);
  });

  it("that was not to recover takes no answer for that", async (t) => {
    const { client, peer } = await open(t);
    const subscription = client.subscribe("c");
    await peer.answer(recovered(4, [3, 4]));
    peer.send(message(5));
    assert.deepEqual(await offsets(subscription, 1), [5]);
    assert.equal(subscription.recovered, null);
  });

  it("says where what was missed is lost, and goes on", async (t) => {
    const { client, peer } = await open(t);
    const subscription = client.subscribe("c", { recover: { offset: 9, epoch: "e" } });
    await peer.answer(lost(4));
    await subscription.opened();
    assert.equal(subscription.recovered, false);
    assert.deepEqual(subscription.position, { offset: 4, epoch: "e" });
    peer.send(message(5));
    assert.deepEqual(await offsets(subscription, 1), [5]);
  });

  it("ends where what was recovered cannot be read, and the server is told", async (t) => {
    for (const answer of [{ ...kept(1), recovered: true }, { recovered: true, messages: [] }, { ...recovered(1, []), messages: [null] }]) {
      const { client, peer } = await open(t);
      const subscription = client.subscribe("c", { recover: { offset: 0, epoch: "e" } });
      await peer.answer(answer);
      const error = await refusal(subscription.opened());
      assert.ok(error instanceof UnexpectedData || error instanceof TypeError);
      assert.equal((await peer.answer({})).method, "unsubscribe");
      await settled(client, peer);
    }
  });

  it("that the server refuses has ended, also where it says when to try again", async (t) => {
    const { client, peer } = await open(t);
    /** @type {unknown[]} */
    const closed = [];
    const subscription = client.subscribe("c", { onclose: (error) => closed.push(error) });
    await peer.refuse({ code: -32008, message: "away", retry_after: 1000 });
    const error = await refusal(subscription.opened());
    assert.ok(error instanceof CallFailed);
    assert.equal(error.retryAfter, 1000);
    assert.equal(await refusal(subscription.next()), error);
    assert.deepEqual(closed, [error]);
    await settled(client, peer);
  });

  it("that takes too long has ended; what the server agrees to all the same is taken back", async (t) => {
    const { client, peer, clock } = await open(t);
    const subscription = client.subscribe("c", { timeout: 100 });
    const { id } = await peer.next();
    clock.pass(100);
    assert.equal((await refusal(subscription.opened())).name, "TimeoutError");
    assert.deepEqual(await peer.next(), { id, cancel: true });
    peer.send({ id, method: "subscribe", response: kept(1) });
    assert.equal((await peer.answer({})).method, "unsubscribe");
    peer.send(message(2));
    await settled(client, peer);
  });

  it("is ended by its signal, before and after the server agreed", async (t) => {
    const { client, peer } = await open(t);
    const never = client.subscribe("c", { signal: AbortSignal.abort("no") });
    assert.equal(await refusal(never.opened()), "no");

    const controller = new AbortController();
    const asked = client.subscribe("c", { signal: controller.signal });
    const { id } = await peer.next();
    controller.abort("enough");
    assert.equal(await refusal(asked.opened()), "enough");
    assert.deepEqual(await peer.next(), { id, cancel: true });
    peer.send({ id, error: { code: -32006, message: "Cancelled" } });

    const other = new AbortController();
    const agreed = client.subscribe("c", { signal: other.signal });
    await peer.answer(kept());
    await agreed.opened();
    other.abort("enough");
    assert.equal(await refusal(agreed.next()), "enough");
    assert.equal((await peer.answer({})).method, "unsubscribe");
    await settled(client, peer);
  });

  it("that was left rejects who waits for it, and nobody need", async (t) => {
    const { client, peer } = await open(t);
    const subscription = client.subscribe("c");
    await peer.next();
    const waiting = refusal(subscription.opened());
    client.subscribe("d").close(); // and nothing is unhandled
    subscription.close();
    subscription.close();
    assert.equal((await waiting).name, "AbortError");
    assert.deepEqual(await subscription.next(), { done: true, value: undefined });
    assert.deepEqual(await subscription.return(), { done: true, value: undefined });
  });

  it("that was left can be read to its end", async (t) => {
    const { client, peer } = await open(t);
    const subscription = client.subscribe("c");
    await peer.answer(kept());
    peer.send(message(1));
    await settled(client, peer);
    subscription.close();
    assert.deepEqual(await offsets(subscription, 1), [1]);
    assert.deepEqual(await subscription.next(), { done: true, value: undefined });
  });

  it("ends when its reader is too slow, what waits is read before, and the server is told", async (t) => {
    const { client, peer } = await open(t);
    const subscription = client.subscribe("c", { queueBytes: 1000 });
    await peer.answer(kept());
    for (const offset of [1, 2, 3, 4]) peer.send(message(offset));
    assert.equal((await peer.answer({})).method, "unsubscribe");
    assert.deepEqual(await offsets(subscription, 3), [1, 2, 3]);
    assert.ok((await refusal(subscription.next())) instanceof TooSlow);
  });

  it("ends where more was recovered than may wait", async (t) => {
    const { client, peer } = await open(t);
    const subscription = client.subscribe("c", { queueBytes: 1000, recover: { offset: 0, epoch: "e" } });
    await peer.answer(recovered(5, [1, 2, 3, 4, 5]));
    assert.equal((await peer.answer({})).method, "unsubscribe");
    assert.deepEqual(await offsets(subscription, 3), [1, 2, 3]);
    assert.ok((await refusal(subscription.next())) instanceof TooSlow);
  });

  it("ends when the client is closed: without an error if the application wanted it so", async (t) => {
    const { client, peer } = await open(t);
    /** @type {unknown[]} */
    const closed = [];
    const subscription = client.subscribe("c", { onclose: (error) => closed.push(error) });
    await peer.answer(kept());
    await subscription.opened();
    await client.close();
    assert.deepEqual(await subscription.next(), { done: true, value: undefined });
    assert.deepEqual(closed, [null]);
    const late = client.subscribe("c");
    assert.ok((await refusal(late.opened())) instanceof ConnectionClosed);
  });

  it("ends when the client is closed: with why if it was not the application", async (t) => {
    const { client, peer, until } = await open(t);
    const subscription = client.subscribe("c");
    await peer.answer(kept());
    await subscription.opened();
    peer.close(4504, "gone");
    await until("closed");
    const error = await refusal(subscription.next());
    assert.ok(error instanceof ConnectionClosed);
    assert.deepEqual([error.code, error.reason], [4504, "gone"]);
  });
});

describe("what the server says of a channel", () => {
  /** @param {import("node:test").TestContext} t @param {import("../src/subscription.js").SubscribeOptions} [options] */
  async function subscribed(t, options) {
    const stage = await open(t);
    const subscription = stage.client.subscribe("c", options);
    await stage.peer.answer(kept());
    await subscription.opened();
    return { ...stage, subscription };
  }

  it("$lagged is counted", async (t) => {
    const { client, peer, subscription } = await subscribed(t);
    peer.send(said("$lagged", { dropped: 3 }));
    peer.send(said("$lagged", { dropped: 2 }));
    await settled(client, peer);
    assert.equal(subscription.dropped, 5);
  });

  it("$reset is PositionLost, in the place of what waited, and it goes on behind it", async (t) => {
    const { client, peer, subscription } = await subscribed(t);
    peer.send(message(1));
    peer.send(said("$reset", { offset: 7, epoch: "f" }));
    peer.send(message(7));
    peer.send(message(8));
    await settled(client, peer);
    const error = await refusal(subscription.next());
    assert.ok(error instanceof PositionLost);
    assert.deepEqual([error.channel, error.offset, error.epoch, error.name], ["c", 7, "f", "PositionLost"]);
    assert.match(error.message, /load its state anew/);
    assert.deepEqual(subscription.position, { offset: 7, epoch: "f" });
    for await (const each of subscription) {
      assert.deepEqual(each.position, { offset: 8, epoch: "f" });
      break;
    }
    assert.equal((await peer.answer({})).method, "unsubscribe");
  });

  it("$reset ends it where not even that can wait", async (t) => {
    const { peer, subscription } = await subscribed(t, { queueBytes: 10 });
    peer.send(said("$reset", { offset: 7, epoch: "f" }));
    assert.equal((await peer.answer({})).method, "unsubscribe");
    assert.ok((await refusal(subscription.next())) instanceof TooSlow);
  });

  it("$join and $leave come to who asked for them, whatever the pattern", async (t) => {
    const { client, peer } = await open(t);
    const watching = client.subscribe("c", { event: "a", presence: true });
    const others = client.subscribe("c", { event: "*" });
    await peer.answer({});
    await peer.answer({});
    peer.send(said("$join", { id: "1", user: "ada" }));
    peer.send(said("$leave", { id: "1" }));
    peer.send(said("x", 1));
    assert.deepEqual(await read(watching), { channel: "c", event: "$join", data: { id: "1", user: "ada" }, position: null });
    assert.equal((await read(watching)).event, "$leave");
    assert.equal((await read(others)).event, "x");
    peer.send(said("$join", { id: "1" }, "another"));
    await settled(client, peer);
    assert.equal(client.ignored, 1);
  });

  it("$unsubscribed ends those whose patterns it names", async (t) => {
    const { client, peer } = await open(t);
    const a = client.subscribe("c", { event: "a" });
    const b = client.subscribe("c", { event: "b" });
    await peer.answer({});
    await peer.answer({});
    peer.send(said("$unsubscribed", { code: -32002, message: "Not allowed any more", events: ["a"] }));
    const error = await refusal(a.next());
    assert.ok(error instanceof CallFailed);
    assert.deepEqual([error.code, error.message], [-32002, "Not allowed any more"]);
    peer.send(said("b", 1));
    assert.equal((await read(b)).data, 1);
    peer.send(said("$unsubscribed", {}));
    const other = await refusal(b.next());
    assert.deepEqual([other.code, other.message], [-32006, "the server took c back"]);
    await settled(client, peer); // and nothing is unsubscribed that is not there
  });

  it("$unsubscribed from presence ends those that asked for it, and the server is told", async (t) => {
    const { client, peer, subscription } = await subscribed(t, { presence: true, event: "a" });
    peer.send(said("$unsubscribed", { code: -32002, message: "no", events: ["$join", "$leave"] }));
    assert.equal((await refusal(subscription.next())).code, -32002);
    assert.deepEqual((await peer.answer({})).payload, { channel: "c", event: "a" });
    await settled(client, peer);
  });

  it("that is not known, or is for nobody, is ignored and counted", async (t) => {
    const { client, peer } = await subscribed(t);
    for (const each of [
      said("$subscribed", { events: ["*"] }),
      said("$new", 1),
      said("$lagged", null),
      said("$lagged", { dropped: "many" }),
      said("$reset", { offset: 1 }),
      said("$reset", { offset: 1, epoch: "e" }, "another"),
      said("$unsubscribed", null, "another"),
    ]) {
      peer.send(each);
    }
    await settled(client, peer);
    assert.equal(client.ignored, 7);
  });
});

describe("several subscriptions to one pattern", () => {
  it("get each message once; the last to leave tells the server", async (t) => {
    const { client, peer } = await open(t);
    const one = client.subscribe("c");
    await peer.answer(kept(1));
    const two = client.subscribe("c");
    await peer.answer(kept(1));
    peer.send(message(2));
    assert.deepEqual([await offsets(one, 1), await offsets(two, 1)], [[2], [2]]);
    one.close();
    await settled(client, peer);
    two.close();
    assert.equal((await peer.answer({})).method, "unsubscribe");
  });

  it("have their own beginnings: an answer may overtake messages of the others", async (t) => {
    const { client, peer } = await open(t);
    const one = client.subscribe("c");
    await peer.answer(kept(1));
    const two = client.subscribe("c", { event: "?", recover: { offset: 0, epoch: "e" } });
    await peer.answer(recovered(3, [1, 2, 3]));
    peer.send(message(2));
    peer.send(message(3));
    peer.send(message(4));
    assert.deepEqual(await offsets(one, 3), [2, 3, 4]);
    assert.deepEqual(await offsets(two, 4), [1, 2, 3, 4]);
  });

  it("of which one is refused: the other stays, and tells the server when it is left", async (t) => {
    const { client, peer } = await open(t);
    const one = client.subscribe("c");
    await peer.answer(kept(1));
    await one.opened();
    const two = client.subscribe("c", { presence: true });
    const { id } = await peer.next();
    one.close();
    await settled(client, peer);
    peer.send({ id, error: { code: -32602, message: "no", errors: { presence: "nobody knows" } } });
    assert.equal((await peer.answer({})).method, "unsubscribe");
    assert.deepEqual((await refusal(two.opened())).errors, { presence: "nobody knows" });
  });

  it("of which one begins as the last leaves: what is said is said in that order", async (t) => {
    const { client, peer } = await open(t);
    const one = client.subscribe("c");
    await peer.answer(kept(1));
    await one.opened();
    one.close();
    const two = client.subscribe("c");
    assert.equal((await peer.answer({})).method, "unsubscribe");
    assert.equal((await peer.answer(kept(1))).method, "subscribe");
    peer.send(message(2));
    assert.deepEqual(await offsets(two, 1), [2]);
  });

  it("of which one was left before its answer: the server is not told as long as another is there", async (t) => {
    const { client, peer } = await open(t);
    const one = client.subscribe("c");
    const { id } = await peer.next();
    one.close();
    assert.deepEqual(await peer.next(), { id, cancel: true });
    const two = client.subscribe("c");
    peer.send({ id, response: kept(0) });
    await peer.answer(kept(0));
    await settled(client, peer);
    two.close();
    assert.equal((await peer.answer({})).method, "unsubscribe");
  });

  it("are told apart by what their channels and patterns are, whatever is in these", async (t) => {
    const { client, peer } = await open(t);
    const one = client.subscribe('a","b', { event: "c" });
    await peer.answer({});
    await one.opened();
    const two = client.subscribe("a", { event: 'b","c' });
    await peer.answer({});
    await two.opened();
    one.close();
    assert.deepEqual((await peer.answer({})).payload, { channel: 'a","b', event: "c" });
  });
});

describe("on the next connection, a subscription", () => {
  /** @param {import("node:test").TestContext} t @param {import("../src/subscription.js").SubscribeOptions & { answer?: unknown }} [options] */
  async function subscribed(t, { answer = kept(4), ...options } = {}) {
    const stage = await open(t);
    /** @type {(boolean | null)[]} */
    const renewed = [];
    const subscription = stage.client.subscribe("c", { onrenewed: (each) => renewed.push(each.recovered), ...options });
    await stage.peer.answer(answer);
    await subscription.opened();
    return { ...stage, subscription, renewed };
  }

  it("gets all that it missed, in order, each once, and then what follows", async (t) => {
    const { peer, lose, back, subscription, renewed, client } = await subscribed(t);
    peer.send(message(5));
    peer.send(message(6));
    await settled(client, peer);
    await lose();
    const next = await back();
    assert.deepEqual((await next.answer(recovered(8, [7, 8]))).payload.recover, { offset: 6, epoch: "e" });
    next.send(message(9));
    assert.deepEqual(await offsets(subscription, 5), [5, 6, 7, 8, 9]);
    assert.equal(subscription.recovered, true);
    assert.deepEqual(renewed, [true]);
  });

  it("goes on from the last message that came, whether it was read, and fits, or not", async (t) => {
    const { client, peer, lose, back, subscription } = await subscribed(t, { event: "a" });
    const other = client.subscribe("c", { event: "b" });
    await peer.answer(kept(4));
    peer.send(message(5, "a"));
    peer.send(message(6, "b"));
    await settled(client, peer);
    await lose();
    const again = await back();
    for (const _ of [subscription, other]) {
      const { payload } = await again.answer({ ...recovered(6, []) });
      assert.deepEqual(payload.recover, { offset: 6, epoch: "e" });
    }
    await settled(client, again);
    assert.deepEqual(await offsets(subscription, 1), [5]);
    assert.deepEqual(subscription.position, { offset: 5, epoch: "e" });
  });

  it("is told that something is lost, in the place of what it had not read", async (t) => {
    const { client, peer, lose, back, subscription, renewed } = await subscribed(t);
    peer.send(message(5));
    await settled(client, peer);
    await lose();
    const again = await back();
    await again.answer(lost(400));
    again.send(message(401));
    await settled(client, again);
    const error = await refusal(subscription.next());
    assert.ok(error instanceof PositionLost);
    assert.equal(error.offset, 400);
    assert.equal(subscription.recovered, false);
    assert.deepEqual(renewed, [false]);
    assert.deepEqual(await offsets(subscription, 1), [401]);
  });

  it("is told nothing where the channel has not moved, though the server does not recover", async (t) => {
    const { client, lose, back, subscription, renewed } = await subscribed(t);
    await lose();
    const again = await back();
    await again.answer(lost(4));
    again.send(message(5));
    await settled(client, again);
    assert.deepEqual(renewed, [true]);
    assert.deepEqual(await offsets(subscription, 1), [5]);
  });

  it("goes on where the channel keeps no history", async (t) => {
    const { lose, back, subscription, renewed } = await subscribed(t, { answer: { subscribed: {} } });
    await lose();
    const again = await back();
    assert.deepEqual((await again.answer({ subscribed: {} })).payload, { channel: "c", event: "*" });
    again.send(said("x", 1));
    assert.deepEqual(await read(subscription), { channel: "c", event: "x", data: 1, position: null });
    assert.equal(subscription.recovered, false);
    assert.deepEqual(renewed, [false]);
  });

  it("ends where the server refuses it", async (t) => {
    const { client, lose, back, subscription } = await subscribed(t);
    await lose();
    const again = await back();
    await again.refuse({ code: -32002, message: "Not allowed to subscribe to this channel" });
    assert.equal((await refusal(subscription.next())).code, -32002);
    await settled(client, again);
  });

  it("is asked for again where the server cannot say yet", async (t) => {
    const { client, clock, lose, back, subscription } = await subscribed(t);
    await lose();
    const again = await back();
    await again.refuse({ code: -32008, message: "away", retry_after: 1000 });
    await settled(client, again);
    clock.pass(1250);
    assert.deepEqual((await again.answer(recovered(5, [5]))).payload.recover, { offset: 4, epoch: "e" });
    assert.deepEqual(await offsets(subscription, 1), [5]);
  });

  it("is asked for again where the server does not answer, and what it answers late does no harm", async (t) => {
    const { client, clock, lose, back, subscription } = await subscribed(t, {});
    await lose();
    const again = await back();
    const { id } = await again.next();
    for (const ms of [10_000, 10_000, 9_999]) {
      clock.pass(ms);
      await settled(client, again); // the server is there
    }
    clock.pass(1);
    assert.deepEqual(await again.next(), { id, cancel: true });
    const second = await again.next();
    again.send({ id, error: { code: -32006, message: "Cancelled" } });
    again.send({ id: second.id, response: recovered(5, [5]) });
    assert.deepEqual(await offsets(subscription, 1), [5]);
    clock.pass(9_000);
    await settled(client, again);
    subscription.close();
    assert.equal((await again.answer({})).method, "unsubscribe");
  });

  it("is not asked for before the server wants it, be that longer than it has to answer", async (t) => {
    const { client, clock, lose, back, subscription } = await subscribed(t);
    await lose();
    const again = await back();
    await again.refuse({ code: -32008, message: "away", retry_after: 40_000 });
    for (const ms of [20_000, 20_000]) {
      await settled(client, again);
      clock.pass(ms);
    }
    await settled(client, again);
    clock.pass(250);
    await again.answer(recovered(5, [5]));
    assert.deepEqual(await offsets(subscription, 1), [5]);
  });

  it("waits with that when the connection ends meanwhile", async (t) => {
    const { client, lose, back, subscription, until } = await subscribed(t);
    await lose();
    const again = await back();
    await again.refuse({ code: -32008, message: "away", retry_after: 100_000 });
    await settled(client, again);
    again.close(1012);
    await until("waiting");
    const third = await back();
    await settled(client, third);
    subscription.close();
    await settled(client, third);
  });

  it("is renewed once more where that connection ended before it was", async (t) => {
    const { lose, back, subscription, until } = await subscribed(t);
    await lose();
    const again = await back();
    await again.next();
    again.cut();
    await until("waiting");
    const third = await back();
    assert.deepEqual((await third.answer(recovered(5, [5]))).payload.recover, { offset: 4, epoch: "e" });
    assert.deepEqual(await offsets(subscription, 1), [5]);
  });

  it("is asked for as it was, if the server had not agreed yet", async (t) => {
    const { client, peer, lose, back } = await open(t);
    const recover = { offset: 1, epoch: "e" };
    const subscription = client.subscribe("c", { recover });
    await peer.next();
    await lose();
    const again = await back();
    assert.deepEqual((await again.answer(recovered(2, [2]))).payload.recover, recover);
    assert.equal(await subscription.opened(), subscription);
    await settled(client, again);
  });

  it("is renewed before anything else is said", async (t) => {
    const { client, lose, back } = await subscribed(t);
    await lose();
    const call = client.call("a");
    const again = await back();
    assert.equal((await again.answer(recovered(4, []))).method, "subscribe");
    assert.equal((await again.answer(1)).method, "a");
    assert.equal(await call, 1);
  });

  it("that was left meanwhile is not renewed", async (t) => {
    const { client, lose, back, subscription } = await subscribed(t);
    await lose();
    subscription.close();
    await settled(client, await back());
  });

  it("that is left while it is renewed is taken back", async (t) => {
    const { client, lose, back, subscription } = await subscribed(t);
    await lose();
    const again = await back();
    const { id } = await again.next();
    subscription.close();
    assert.deepEqual(await again.next(), { id, cancel: true });
    again.send({ id, response: recovered(5, [5]) });
    assert.equal((await again.answer({})).method, "unsubscribe");
    assert.deepEqual(await subscription.next(), { done: true, value: undefined });
    await settled(client, again);
  });

  it("that is left where it is told so gets nothing more", async (t) => {
    const { client, lose, back, subscription } = await subscribed(t, { onrenewed: (each) => each.close() });
    await lose();
    const again = await back();
    await again.answer(recovered(5, [5]));
    assert.equal((await again.answer({})).method, "unsubscribe");
    assert.deepEqual(await subscription.next(), { done: true, value: undefined });
    await settled(client, again);
  });

  it("is not unsubscribed there by what was to be said on the last one", async (t) => {
    const { client, peer, lose, back } = await open(t, { calls: 1 });
    const one = client.subscribe("c");
    await peer.answer(kept(1));
    await one.opened();
    const blocking = refusal(client.call("a"));
    await peer.next();
    one.close(); // what says so waits for its turn
    const two = client.subscribe("c");
    await lose();
    await blocking;
    const again = await back();
    assert.equal((await again.answer(kept(1))).method, "subscribe");
    await two.opened();
    await settled(client, again);
  });
});

describe("with onmessage, a subscription", () => {
  it("hands each message on, and queues nothing", async (t) => {
    const { client, peer } = await open(t);
    /** @type {unknown[]} */
    const seen = [];
    /** @type {import("../src/subscription.js").Subscription} */
    const subscription = client.subscribe("c", {
      queueBytes: 10,
      onmessage: (each) => seen.push([each.data, subscription.position?.offset]),
      onlost: (error) => seen.push([error.name, subscription.position?.offset]),
    });
    await peer.answer(kept(0));
    for (const offset of [1, 2]) peer.send(message(offset));
    peer.send(said("$reset", { offset: 7, epoch: "f" }));
    peer.send(message(8));
    await settled(client, peer);
    assert.deepEqual(seen, [[1, 1], [2, 2], ["PositionLost", 7], [8, 8]]);
  });

  it("may be left by it", async (t) => {
    const { client, peer } = await open(t);
    /** @type {unknown[]} */
    const seen = [];
    /** @type {import("../src/subscription.js").Subscription} */
    const subscription = client.subscribe("c", {
      recover: { offset: 0, epoch: "e" },
      onmessage(each) {
        seen.push(each.data);
        subscription.close();
      },
      onclose: (error) => seen.push(error),
    });
    await peer.answer(recovered(3, [1, 2, 3]));
    assert.equal((await peer.answer({})).method, "unsubscribe");
    await settled(client, peer);
    assert.deepEqual(seen, [1, null]);
  });

  it("of two, one may be left by the other's", async (t) => {
    const { client, peer } = await open(t);
    /** @type {unknown[]} */
    const seen = [];
    const one = client.subscribe("c", { onmessage: () => two.close() });
    const two = client.subscribe("c", { onmessage: (each) => seen.push(each) });
    await peer.answer(kept(0));
    await peer.answer(kept(0));
    peer.send(message(1));
    peer.send(said("$reset", { offset: 7, epoch: "f" }));
    await settled(client, peer);
    assert.deepEqual(seen, []);
    one.close();
  });

  it("that throws is reported, and gets the next one", async (t) => {
    /** @type {unknown[]} */
    const reported = [];
    reporting(t, (error) => reported.push(error));
    const { client, peer } = await open(t);
    /** @type {unknown[]} */
    const seen = [];
    client.subscribe("c", {
      onmessage({ data }) {
        seen.push(data);
        throw new Error(`of ${data}`);
      },
    });
    await peer.answer(kept(0));
    peer.send(message(1));
    peer.send(message(2));
    await settled(client, peer);
    assert.deepEqual(seen, [1, 2]);
    assert.deepEqual(reported.map(String), ["Error: of 1", "Error: of 2"]);
  });
});

it("a subscription that begins before there is a connection is asked for on the first", async (t) => {
  const { client, server } = await begin(t);
  const subscription = client.subscribe("c");
  const peer = await server.accept();
  await peer.answer(kept(1));
  assert.equal(await subscription.opened(), subscription);
});
