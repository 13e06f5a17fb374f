// What the server calls.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CallFailed, RpcError } from "./module.js";
import { Mailbox } from "./server.js";
import { open, reporting, settled } from "./stage.js";

/** @param {string | null} id @param {string} method @param {unknown} [payload] */
const call = (id, method, payload) => ({ id, method, payload });

/** A handler that ends when the test says so. */
function gate() {
  /** @type {Mailbox<{ payload: any, signal: AbortSignal, end: (value?: unknown) => void, fail: (error: unknown) => void }>} */
  const runs = new Mailbox();
  /** @type {import("../src/serving.js").Handler} */
  const handler = (payload, { signal }) =>
    new Promise((end, fail) => runs.put({ payload, signal, end, fail }));
  return { runs, handler };
}

describe("a call of the server", () => {
  it("is answered with what the handler returns", async (t) => {
    const { peer } = await open(t, {
      serve: { confirm: async (payload) => ({ yes: payload.text }), quiet: () => {}, echo: (payload) => payload },
    });
    peer.send(call("s1", "confirm", { text: "Lunch?" }));
    assert.deepEqual(await peer.next(), { id: "s1", response: { yes: "Lunch?" } });
    peer.send(call("s2", "quiet"));
    assert.deepEqual(await peer.next(), { id: "s2", response: null });
    peer.send(call("s3", "echo"));
    assert.deepEqual(await peer.next(), { id: "s3", response: {} });
  });

  it("of a method that nobody serves is refused", async (t) => {
    const { client, peer } = await open(t);
    const refused = { code: -32601, message: "Invalid RPC parameters", errors: { method: "confirm method not available" } };
    peer.send(call("s1", "confirm"));
    assert.deepEqual(await peer.next(), { id: "s1", error: refused });
    const takeBack = client.serve("confirm", () => 1);
    const takeBackNewer = client.serve("confirm", () => 2);
    takeBack();
    peer.send(call("s2", "confirm"));
    assert.deepEqual(await peer.next(), { id: "s2", response: 2 });
    takeBackNewer();
    takeBackNewer();
    peer.send(call("s3", "confirm"));
    assert.deepEqual(await peer.next(), { id: "s3", error: refused });
    peer.send(call(null, "confirm"));
    await settled(client, peer);
  });

  it("gets the error that the handler throws", async (t) => {
    const { peer } = await open(t, {
      serve: {
        async confirm() {
          throw new RpcError(7, "no", { data: [1], errors: { text: "too long" }, retryAfter: 5 });
        },
        plain() {
          throw new RpcError(8, "no");
        },
      },
    });
    peer.send(call("s1", "confirm"));
    assert.deepEqual(await peer.next(), {
      id: "s1",
      error: { code: 7, message: "no", data: [1], errors: { text: "too long" }, retry_after: 5 },
    });
    peer.send(call("s2", "plain"));
    assert.deepEqual(await peer.next(), { id: "s2", error: { code: 8, message: "no" } });
  });

  it("is told no more of any other exception than that there was one, which is told here", async (t) => {
    const told = t.mock.method(console, "error", () => {});
    const fault = new Error("a secret");
    const { client, peer } = await open(t, {
      serve: {
        broken() {
          throw fault;
        },
        async relay() {
          throw new CallFailed(-32002, "of another server");
        },
      },
    });
    for (const [id, method] of [["s1", "broken"], ["s2", "relay"]]) {
      peer.send(call(/** @type {string} */ (id), /** @type {string} */ (method)));
      assert.deepEqual(await peer.next(), { id, error: { code: -32603, message: "Internal error" } });
    }
    assert.equal(told.mock.calls[0]?.arguments[0], fault);
    peer.send(call(null, "broken"));
    await settled(client, peer);
    assert.equal(told.mock.callCount(), 3);
  });

  it("has an exception reported where something reports", async (t) => {
    /** @type {unknown[]} */
    const reported = [];
    reporting(t, (error) => reported.push(error));
    const fault = new Error("a secret");
    const { peer } = await open(t, { serve: { broken: () => Promise.reject(fault) } });
    peer.send(call("s1", "broken"));
    await peer.next();
    assert.deepEqual(reported, [fault]);
  });

  it("whose result has no JSON form fails", async (t) => {
    const { peer } = await open(t, { serve: { big: () => 1n } });
    peer.send(call("s1", "big"));
    assert.deepEqual(await peer.next(), { id: "s1", error: { code: -32603, message: "JSON object expected" } });
  });

  it("whose result, or error, has a lone surrogate fails: the server could not read it", async (t) => {
    const refused = () => {
      throw new RpcError(7, "half \ud83d of it");
    };
    const { peer } = await open(t, { serve: { half: () => ({ text: "😀".slice(0, 1) }), refused } });
    for (const method of ["half", "refused"]) {
      peer.send(call("s1", method));
      assert.deepEqual(await peer.next(), { id: "s1", error: { code: -32603, message: "JSON object expected" } });
    }
  });

  it("that is cancelled is answered so at once, and its handler's signal is aborted", async (t) => {
    const told = t.mock.method(console, "error", () => {});
    const { runs, handler } = gate();
    const { client, peer } = await open(t, { serve: { wait: handler } });
    peer.send(call("s1", "wait", { n: 1 }));
    const run = await runs.next();
    assert.deepEqual(run.payload, { n: 1 });
    assert.equal(run.signal.aborted, false);
    peer.send({ id: "s1", cancel: true });
    assert.deepEqual(await peer.next(), { id: "s1", error: { code: -32006, message: "Cancelled" } });
    assert.equal(run.signal.aborted, true);
    run.fail(run.signal.reason);
    await settled(client, peer);
    assert.equal(told.mock.callCount(), 0);
    peer.send({ id: "s1", cancel: true });
    peer.send({ id: "s9", cancel: true });
    await settled(client, peer);
  });

  it("with the id of one that runs is ignored and counted", async (t) => {
    const { runs, handler } = gate();
    const { client, peer } = await open(t, { serve: { wait: handler } });
    peer.send(call("s1", "wait"));
    const run = await runs.next();
    peer.send(call("s1", "wait"));
    await settled(client, peer);
    assert.equal(client.ignored, 1);
    run.end("done");
    assert.deepEqual(await peer.next(), { id: "s1", response: "done" });
    peer.send(call("s1", "wait"));
    (await runs.next()).end("again");
    assert.deepEqual(await peer.next(), { id: "s1", response: "again" });
  });

  it("is one of at most 64 that run, notifications among them", async (t) => {
    const { runs, handler } = gate();
    const { client, peer } = await open(t, { serve: { wait: handler } });
    for (let n = 1; n <= 64; n++) peer.send(call(n === 64 ? null : `s${n}`, "wait", { n }));
    const running = [];
    for (let n = 1; n <= 64; n++) running.push(await runs.next());
    peer.send(call("s65", "wait"));
    const message = "64 calls are in flight, wait for an answer before the next";
    assert.deepEqual(await peer.next(), { id: "s65", error: { code: -32004, message, data: { limit: "calls", max: 64 } } });
    peer.send(call(null, "wait"));
    peer.send({ id: "s1", cancel: true });
    assert.equal((await peer.next()).error.code, -32006);
    peer.send(call("s66", "wait"));
    assert.equal((await peer.next()).error.code, -32004, "its handler still runs");
    running[0]?.end();
    await settled(client, peer);
    peer.send(call("s67", "wait"));
    (await runs.next()).end("there is room");
    assert.deepEqual(await peer.next(), { id: "s67", response: "there is room" });
    assert.equal(runs.size, 0);
  });

  it("is cancelled when its connection ends, and its answer is sent nowhere", async (t) => {
    const { runs, handler } = gate();
    const { client, peer, lose, back } = await open(t, { serve: { wait: handler } });
    peer.send(call("s1", "wait"));
    peer.send(call(null, "wait"));
    const [one, two] = [await runs.next(), await runs.next()];
    await lose();
    assert.deepEqual([one.signal.aborted, two.signal.aborted], [true, true]);
    one.end("late");
    const next = await back();
    await settled(client, next);
  });

  it("keeps a connection that is left until it is answered", async (t) => {
    const { runs, handler } = gate();
    const { client, peer, clock, server, until } = await open(t, { serve: { wait: handler } });
    peer.send(call("s1", "wait"));
    const run = await runs.next();
    peer.send({ event: "$reconnect", data: { after: 0, code: 1012 } });
    await until("open");
    clock.pass(0);
    const next = await server.accept();
    await until("open");
    await settled(client, next);
    run.end("done");
    assert.deepEqual(await peer.next(), { id: "s1", response: "done" });
    assert.deepEqual(await peer.closed, [1000, "moved"]);
  });
});

it("what is no function serves nothing", async (t) => {
  const { client } = await open(t);
  /** @type {any} */
  const odd = client;
  assert.throws(() => odd.serve("confirm", 1), /no function serves confirm/);
});
