// Calls: how they end, and what becomes of them when the connection does.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { WebSocket } from "ws";
import { CallFailed, ConnectionClosed, UnexpectedData } from "./module.js";
import { begin, open, refusal, settled } from "./stage.js";

describe("a call", () => {
  for (const after of ['"5"', "null", "[]", "1e999", "{}"]) {
    it(`is not sent again where the server says by ${after} when to`, async (t) => {
      const { client, peer } = await open(t);
      const refused = refusal(client.call("echo", {}, { idempotent: true }));
      const { id } = await peer.next();
      peer.socket.send(`{"id": ${id}, "error": {"code": 7, "message": "later", "retry_after": ${after}}}`);
      const error = await refused;
      assert.ok(error instanceof CallFailed);
      assert.equal(error.retryAfter, undefined);
    });
  }

  it("is answered by its response", async (t) => {
    const { client, peer } = await open(t);
    const sum = client.call("add", { a: 1, b: 2 });
    assert.deepEqual(await peer.answer({ sum: 3 }), { id: 1, method: "add", payload: { a: 1, b: 2 }, timeout: 30_000 });
    assert.deepEqual(await sum, { sum: 3 });
  });

  it("may have no payload, no timeout, and null as its response", async (t) => {
    const { client, peer } = await open(t);
    const nothing = client.call("nothing", null, { timeout: null });
    assert.deepEqual(await peer.answer(null), { id: 1, method: "nothing", payload: {} });
    assert.equal(await nothing, null);
  });

  it("whose timeout is longer than any that the server takes has none there", async (t) => {
    const { client, peer, clock } = await open(t);
    for (const timeout of [Infinity, NaN, 2 ** 53]) {
      const answer = client.call("echo", {}, { timeout });
      assert.ok(!("timeout" in (await peer.answer(null))));
      await answer;
    }
    const brief = refusal(client.call("echo", {}, { timeout: 0 }));
    assert.equal((await peer.next()).timeout, 1);
    clock.pass(0);
    assert.equal((await brief).name, "TimeoutError");
  });

  it("has the payload that it was made with", async (t) => {
    const { client, peer } = await open(t);
    const payload = { list: [1] };
    const answer = client.call("echo", payload);
    payload.list.push(2);
    assert.deepEqual((await peer.answer(null)).payload, { list: [1] });
    await answer;
  });

  it("is one of several, each answered when it is done", async (t) => {
    const { client, peer } = await open(t);
    const answers = [client.call("a"), client.call("b")];
    const [a, b] = [await peer.next(), await peer.next()];
    assert.deepEqual([a.id, b.id], [1, 2]);
    peer.send({ id: b.id, method: "b", response: "of b" });
    peer.send({ id: a.id, method: "a", response: "of a" });
    assert.deepEqual(await Promise.all(answers), ["of a", "of b"]);
  });

  it("fails with the error of the server, all of it", async (t) => {
    const { client, peer } = await open(t);
    const call = refusal(client.call("order"));
    await peer.refuse({ code: -32602, message: "Invalid RPC parameters", errors: { "items[0]": "required" }, data: [1], retry_after: 5 });
    const error = await call;
    assert.ok(error instanceof CallFailed);
    assert.equal(error.name, "CallFailed");
    assert.equal(error.code, -32602);
    assert.equal(error.message, "Invalid RPC parameters");
    assert.deepEqual(error.errors, { "items[0]": "required" });
    assert.deepEqual(error.data, [1]);
    assert.equal(error.retryAfter, 5);
  });

  for (const error of [null, "no", {}, { code: "1", message: "a" }, { code: 1.5, message: "a" }, { code: 1 }]) {
    it(`fails where the error of the server is ${JSON.stringify(error)}`, async (t) => {
      const { client, peer } = await open(t);
      const call = refusal(client.call("order"));
      await peer.refuse(error);
      assert.ok((await call) instanceof UnexpectedData);
    });
  }

  it("that is too long for the server is the one that is refused, though it says no id", async (t) => {
    const { client, peer } = await open(t);
    const short = client.call("echo", { text: "é" });
    const long = refusal(client.call("echo", { text: "é".repeat(100) }));
    const first = await peer.next();
    const size = Buffer.byteLength(JSON.stringify(await peer.next()));
    peer.send({ error: { code: -32007, message: "too long", data: { limit: "message_bytes", size: 5, max: 4 } } });
    peer.send({ error: { code: -32007, message: "too long", data: { limit: "message_bytes", size, max: 100 } } });
    assert.equal((await long).code, -32007);
    peer.send({ id: first.id, response: 1 });
    assert.equal(await short, 1);
    assert.equal(client.ignored, 1);
  });

  it("that is answered with items says what to do instead", async (t) => {
    const { client, peer } = await open(t);
    const call = refusal(client.call("count"));
    const { id } = await peer.next();
    peer.send({ id, method: "count", item: { n: 1 }, seq: 1 });
    const error = await call;
    assert.ok(error instanceof UnexpectedData);
    assert.match(error.message, /client\.stream\("count"\)/);
    assert.deepEqual(await peer.next(), { id, cancel: true });
    peer.send({ id, method: "count", item: { n: 2 }, seq: 2 });
    peer.send({ id, method: "count", error: { code: -32006, message: "Cancelled" } });
    const next = client.call("echo");
    await peer.answer(1);
    assert.equal(await next, 1);
    assert.equal(client.ignored, 0);
  });

  it("is given up when its time is over, and the server is told", async (t) => {
    const { client, peer, clock } = await open(t);
    const call = refusal(client.call("wait", {}, { timeout: 500 }));
    assert.equal((await peer.next()).timeout, 500);
    clock.pass(500);
    const error = await call;
    assert.ok(error instanceof DOMException);
    assert.equal(error.name, "TimeoutError");
    assert.equal(error.message, "wait was not answered within 500 ms");
    assert.deepEqual(await peer.next(), { id: 1, cancel: true });
    peer.send({ id: 1, method: "wait", response: "late" });
    const next = client.call("echo");
    await peer.answer(1);
    await next;
    assert.equal(client.ignored, 0);
  });

  it("is given up when its signal is aborted, and the server is told", async (t) => {
    const { client, peer } = await open(t);
    const controller = new AbortController();
    const call = refusal(client.call("wait", {}, { signal: controller.signal }));
    await peer.next();
    controller.abort("enough");
    assert.equal(await call, "enough");
    assert.deepEqual(await peer.next(), { id: 1, cancel: true });
  });

  it("is not even sent when its signal is aborted before", async (t) => {
    const { client, peer } = await open(t);
    const error = await refusal(client.call("wait", {}, { signal: AbortSignal.abort() }));
    assert.equal(error.name, "AbortError");
    client.notify("marker");
    assert.equal((await peer.next()).method, "marker");
  });

  it("leaves nothing behind at its signal, nor on the clock", async (t) => {
    const { client, peer, clock } = await open(t);
    const before = clock.timers;
    const controller = new AbortController();
    const call = client.call("echo", {}, { signal: controller.signal });
    await peer.answer(1);
    await call;
    assert.equal(clock.timers, before);
    controller.abort();
    client.notify("marker");
    assert.equal((await peer.next()).method, "marker");
  });

  it("with what cannot be said is refused at once", async (t) => {
    const { client } = await open(t);
    /** @type {any} */
    const odd = client;
    await assert.rejects(odd.call(1), /^TypeError: 1: the name of a method is a string/);
    await assert.rejects(odd.call("echo", [1]), /echo: the name of a method is a string, and its payload an object/);
    await assert.rejects(odd.call("echo", "text"), TypeError);
    await assert.rejects(odd.call("echo", () => {}), TypeError);
    await assert.rejects(odd.call("echo", { big: 1n }), TypeError);
    await assert.rejects(odd.call("echo", { text: "half \ud83d of it" }), /a lone surrogate/);
    await assert.rejects(odd.call("echo", { text: "\\\udc00" }), /a lone surrogate/);
    await assert.rejects(odd.call("half\ud83d"), /a lone surrogate/);
  });

  it("may have pairs of surrogates, and backslashes that look like half of one", async (t) => {
    const { client, peer } = await open(t);
    const payload = { text: "😀 \\ud83d \\\\udc00" };
    const answer = client.call("echo", payload);
    assert.deepEqual((await peer.answer(1)).payload, payload);
    await answer;
  });

  it("waits its turn while as many as may be are in flight", async (t) => {
    const { client, peer } = await open(t, { calls: 2 });
    const answers = ["a", "b", "c", "d"].map((method) => client.call(method));
    assert.equal((await peer.next()).method, "a");
    const b = await peer.next();
    client.notify("a notification needs no turn");
    assert.equal((await peer.next()).method, "a notification needs no turn");
    peer.send({ id: b.id, response: "b" });
    assert.equal(await answers[1], "b");
    assert.equal((await peer.next()).method, "c");
    peer.send({ id: 1, response: "a" });
    assert.equal((await peer.next()).method, "d");
    peer.send({ id: 3, response: "c" });
    peer.send({ id: 4, response: "d" });
    assert.deepEqual(await Promise.all(answers), ["a", "b", "c", "d"]);
  });

  it("keeps its turn when it was given up, until the server is done with it", async (t) => {
    const { client, peer, clock } = await open(t, { calls: 1 });
    const first = refusal(client.call("a", {}, { timeout: 10 }));
    const second = client.call("b");
    await peer.next();
    clock.pass(10);
    await first;
    assert.deepEqual(await peer.next(), { id: 1, cancel: true });
    peer.send({ id: 1, error: { code: -32006, message: "Cancelled" } });
    await peer.answer("b");
    assert.equal(await second, "b");
  });

  it("that waits may be given up, and is not sent", async (t) => {
    const { client, peer, clock } = await open(t, { calls: 1 });
    const first = client.call("a", {}, { timeout: null });
    const second = refusal(client.call("b", {}, { timeout: 10 }));
    const third = client.call("c", {}, { timeout: null });
    clock.pass(10);
    assert.equal((await second).name, "TimeoutError");
    assert.equal((await peer.answer(1)).method, "a");
    assert.equal((await peer.answer(3)).method, "c");
    assert.deepEqual([await first, await third], [1, 3]);
  });

  it("that is one more than may wait fails at once", async (t) => {
    const { client, peer } = await open(t, { calls: 1, waiting: 2 });
    const calls = ["a", "b", "c"].map((method) => client.call(method));
    const error = await refusal(client.call("d"));
    assert.ok(error instanceof CallFailed);
    assert.equal(error.code, -32004);
    assert.deepEqual(error.data, { limit: "waiting", max: 2 });
    for (const each of [1, 2, 3]) await peer.answer(each);
    assert.deepEqual(await Promise.all(calls), [1, 2, 3]);
  });
});

describe("when the connection ends, a call", () => {
  it("that was sent fails, and may have run", async (t) => {
    const { client, peer, lose } = await open(t);
    const call = refusal(client.call("order"));
    await peer.next();
    await lose(1011);
    const error = await call;
    assert.ok(error instanceof ConnectionClosed);
    assert.equal(error.code, 1011);
    assert.equal(error.mayHaveRun, true);
  });

  it("that was made when the end had begun already is sent on the next", async (t) => {
    /** @type {any} */
    let socket;
    const Noted = /** @type {any} */ (
      class extends WebSocket {
        /** @param {ConstructorParameters<typeof WebSocket>} given */
        constructor(...given) {
          super(...given);
          socket = this;
        }
      }
    );
    const { client, until, back } = await open(t, { WebSocket: Noted });
    socket.close(4000); // as a browser, or the network, may
    const call = client.call("a");
    client.notify("b");
    await until("waiting");
    const next = await back();
    assert.equal((await next.answer(1)).method, "a");
    assert.equal((await next.next()).method, "b");
    assert.equal(await call, 1);
  });

  it("that was not sent is sent on the next", async (t) => {
    const { client, peer, lose, back, clock } = await open(t, { calls: 1 });
    const first = refusal(client.call("a"));
    const second = client.call("b");
    await peer.next();
    await lose();
    assert.equal((await first).mayHaveRun, true);
    clock.pass(100);
    const next = await back();
    assert.deepEqual(await next.answer("b"), { id: 1, method: "b", payload: {}, timeout: 30_000 - 250 });
    assert.equal(await second, "b");
  });

  it("that is idempotent is sent again, in its place, with what is left of its timeout", async (t) => {
    const { client, peer, lose, back, clock } = await open(t, { calls: 2 });
    const calls = ["a", "b", "c"].map((method) => client.call(method, {}, { idempotent: true, timeout: 1000 }));
    await peer.next();
    await peer.next();
    clock.pass(300);
    await lose();
    const next = await back();
    for (const method of ["a", "b", "c"]) {
      const call = await next.answer(method);
      assert.equal(call.method, method);
      assert.equal(call.timeout, 450);
    }
    assert.deepEqual(await Promise.all(calls), ["a", "b", "c"]);
  });

  it("that nobody waits for any more is forgotten", async (t) => {
    const { client, peer, clock, lose, back } = await open(t);
    const call = refusal(client.call("wait", {}, { timeout: 10, idempotent: true }));
    await peer.next();
    clock.pass(10);
    await call;
    await lose();
    const next = await back();
    client.notify("marker");
    assert.equal((await next.next()).method, "marker");
  });

  it("that is idempotent runs out of time while there is none", async (t) => {
    const { client, peer, clock, lose } = await open(t, { first: 10_000 });
    const call = refusal(client.call("wait", {}, { timeout: 100, idempotent: true }));
    await peer.next();
    await lose();
    clock.pass(100);
    assert.equal((await call).name, "TimeoutError");
  });

  it("fails where the end is for good: sent ones may have run, others have not", async (t) => {
    const { client, peer, until } = await open(t, { calls: 2 });
    const calls = [client.call("a"), client.call("b", {}, { idempotent: true }), client.call("c")].map(refusal);
    await peer.next();
    peer.close(4501);
    await until("closed");
    const errors = await Promise.all(calls);
    assert.deepEqual(errors.map((error) => [error.code, error.mayHaveRun]), [[4501, true], [4501, true], [4501, false]]);
  });

  it("fails where the application closed the client", async (t) => {
    const { client, peer } = await open(t, { calls: 1 });
    const calls = [client.call("a"), client.call("b")].map(refusal);
    await peer.next();
    await client.close();
    const errors = await Promise.all(calls);
    assert.deepEqual(errors.map((error) => [error.code, error.mayHaveRun]), [[1000, true], [1000, false]]);
    assert.throws(() => client.notify("a"), ConnectionClosed);
  });
});

describe("an error with retry_after", () => {
  it("of an idempotent call is waited for, and a random part of more and more", async (t) => {
    const { client, peer, clock } = await open(t);
    clock.chance = 1;
    const call = client.call("history", {}, { idempotent: true });
    await peer.refuse({ code: -32008, message: "away", retry_after: 1000 });
    const marker = client.call("marker");
    assert.equal((await peer.answer(0)).method, "marker");
    await marker;
    clock.pass(1499);
    client.notify("not yet");
    assert.equal((await peer.next()).method, "not yet");
    clock.pass(1);
    await peer.refuse({ code: -32008, message: "away", retry_after: 0 });
    const second = client.call("marker");
    await peer.answer(0);
    await second;
    clock.pass(1000);
    await peer.answer("there");
    assert.equal(await call, "there");
  });

  it("of any other call is its end", async (t) => {
    const { client, peer } = await open(t);
    const call = refusal(client.call("publish"));
    await peer.refuse({ code: -32008, message: "away", retry_after: 1000 });
    assert.equal((await call).retryAfter, 1000);
  });

  it("is not waited for longer than the timeout", async (t) => {
    const { client, peer, clock } = await open(t);
    const call = refusal(client.call("history", {}, { idempotent: true, timeout: 500 }));
    await peer.refuse({ code: -32008, message: "away", retry_after: 1000 });
    const marker = client.call("marker");
    await peer.answer(0);
    await marker;
    clock.pass(500);
    assert.equal((await call).name, "TimeoutError");
  });

  it("of a call that was cancelled meanwhile is nothing to anybody", async (t) => {
    const { client, peer } = await open(t);
    const controller = new AbortController();
    const call = refusal(client.call("history", {}, { idempotent: true, signal: controller.signal }));
    const { id } = await peer.next();
    controller.abort("enough");
    await call;
    await peer.next();
    peer.send({ id, error: { code: -32008, message: "away", retry_after: 0 } });
    const marker = client.call("marker");
    await peer.answer(0);
    await marker;
  });
});

describe("without a connection", () => {
  it("what is said waits, and is sent in its order", async (t) => {
    const { client, server } = await begin(t);
    const a = client.call("a");
    client.notify("b", { n: 1 });
    const c = client.subscribe("channel");
    const d = client.call("d");
    const peer = await server.accept();
    assert.equal((await peer.answer(1)).method, "a");
    assert.deepEqual(await peer.next(), { id: null, method: "b", payload: { n: 1 } });
    assert.equal((await peer.answer({ subscribed: {} })).method, "subscribe");
    assert.equal((await peer.answer(4)).method, "d");
    await Promise.all([a, c.opened(), d]);
  });

  it("at most so much waits", async (t) => {
    const { client } = await begin(t, { waiting: 2 });
    client.notify("a");
    const second = refusal(client.call("b"));
    assert.equal((await refusal(client.call("c"))).code, -32004);
    assert.throws(() => client.notify("d"), (/** @type {any} */ error) => error.code === -32004);
    assert.equal((await refusal(client.subscribe("e").opened())).code, -32004);
    await client.close();
    await second;
  });

  it("all fails at once where the application wants it so", async (t) => {
    const { client, lose, back, peer } = await open(t, { offline: "fail" });
    const subscription = client.subscribe("kept");
    await peer.answer({ subscribed: {} });
    await subscription.opened();
    const sent = [client.call("a"), client.call("b", {}, { idempotent: true })].map(refusal);
    await peer.next();
    await peer.next();
    await lose(1012);
    assert.deepEqual((await Promise.all(sent)).map(({ code, mayHaveRun }) => [code, mayHaveRun]), [[1012, true], [1012, true]]);
    const error = await refusal(client.call("a"));
    assert.ok(error instanceof ConnectionClosed);
    assert.equal(error.mayHaveRun, false);
    assert.throws(() => client.notify("a"), ConnectionClosed);
    await assert.rejects(client.subscribe("a").opened(), ConnectionClosed);
    await assert.rejects(client.stream("a").next(), ConnectionClosed);
    const next = await back();
    assert.equal((await next.answer({ subscribed: {} })).payload.channel, "kept");
  });

  it("renewals wait all the same", async (t) => {
    const { client, peer, lose, back, until } = await open(t, { offline: "fail" });
    const subscription = client.subscribe("kept");
    await peer.answer({ subscribed: {} });
    await subscription.opened();
    await lose();
    const second = await back();
    await second.next();
    second.cut();
    await until("waiting");
    const third = await back();
    assert.equal((await third.answer({ subscribed: {} })).payload.channel, "kept");
    await settled(client, third);
    assert.equal(subscription.recovered, false);
  });
});

describe("bytes that wait to be sent", () => {
  it("have calls wait and notifications fail, until there is room", async (t) => {
    const { client, peer, clock } = await open(t, { queueBytes: 1000 });
    peer.socket.pause();
    let bytes = 0;
    // The sockets of both ends take some.
    for (let i = 0; i < 100_000; i++) {
      try {
        client.notify("flood", { text: "x".repeat(100_000) });
        bytes += 100_000;
      } catch (error) {
        assert.equal(/** @type {any} */ (error).code, -32004);
        assert.deepEqual(/** @type {any} */ (error).data, { limit: "queueBytes", max: 1000 });
        break;
      }
    }
    assert.ok(bytes > 1000);
    const call = client.call("echo");
    const other = client.call("echo");
    clock.pass(50);
    peer.socket.resume();
    for (let read = 0; read < bytes; read += 100_000) await peer.next();
    clock.pass(100);
    await peer.answer(1);
    await peer.answer(2);
    assert.deepEqual([await call, await other], [1, 2]);
  });
});

describe("the methods that every server has", () => {
  it("publish says where the message is, on a channel that keeps history", async (t) => {
    const { client, peer } = await open(t);
    const position = client.publish("c", "e", { a: 1 });
    assert.deepEqual((await peer.answer({ channel: "c", event: "e", data: { a: 1 }, offset: 3, epoch: "x" })).payload, {
      channel: "c",
      event: "e",
      data: { a: 1 },
    });
    assert.deepEqual(await position, { offset: 3, epoch: "x" });
    const nowhere = client.publish("c", "e", undefined);
    assert.equal((await peer.answer({ channel: "c", event: "e", data: null })).payload.data, null);
    assert.equal(await nowhere, null);
  });

  it("publish is sent again if it has a key, and only then", async (t) => {
    const { client, peer, lose, back } = await open(t);
    const once = refusal(client.publish("c", "e", 1));
    const keyed = client.publish("c", "e", 2, { key: "k" });
    await peer.next();
    assert.equal((await peer.next()).payload.key, "k");
    await lose();
    assert.equal((await once).mayHaveRun, true);
    const next = await back();
    assert.equal((await next.answer({ offset: 1, epoch: "x" })).payload.key, "k");
    assert.deepEqual(await keyed, { offset: 1, epoch: "x" });
    // @ts-expect-error a key is a string: null is none
    const nothing = refusal(client.publish("c", "e", 3, { key: null }));
    await next.next();
    next.cut();
    assert.equal((await nothing).mayHaveRun, true);
  });

  it("history is messages and a position, and is read again", async (t) => {
    const { client, peer, lose, back } = await open(t);
    const since = { offset: 1, epoch: "x" };
    const history = client.history("c", { since, limit: 2, reverse: true, timeout: 5000 });
    assert.deepEqual((await peer.next()).payload, { channel: "c", since, limit: 2, reverse: true });
    await lose();
    const next = await back();
    await next.answer({ messages: [{ channel: "c", event: "e", data: 5, offset: 5 }], offset: 7, epoch: "x" });
    assert.deepEqual(await history, {
      messages: [{ channel: "c", event: "e", data: 5, position: { offset: 5, epoch: "x" } }],
      position: { offset: 7, epoch: "x" },
    });
    const bare = refusal(client.history("c"));
    assert.deepEqual((await next.answer({ messages: [] })).payload, { channel: "c" });
    assert.ok((await bare) instanceof UnexpectedData);
    const without = refusal(client.history("c"));
    await next.answer({ offset: 7, epoch: "x" });
    assert.match((await without).message, /the server answered with no messages/);
  });

  it("presence is members", async (t) => {
    const { client, peer } = await open(t);
    const members = [{ id: "1", user: "ada", connections: 2 }];
    const present = client.presence("c");
    assert.deepEqual((await peer.answer({ members })).payload, { channel: "c" });
    assert.deepEqual(await present, members);
    const odd = refusal(client.presence("c", { timeout: 100 }));
    assert.equal((await peer.answer(null)).timeout, 100);
    assert.ok((await odd) instanceof UnexpectedData);
  });
});
