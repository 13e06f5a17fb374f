// Whether the server is still there: what is asked, and when it is given up.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { open, refusal, settled } from "./stage.js";

describe("a connection on which nothing comes", () => {
  it("is asked for a sign of life after its heartbeat, and is well if there is an answer", async (t) => {
    const { client, peer, clock } = await open(t, { heartbeat: 1000 });
    clock.pass(999);
    client.notify("not yet");
    assert.equal((await peer.next()).method, "not yet");
    clock.pass(1);
    const ping = await peer.answer(null);
    assert.deepEqual(ping, { id: 1, method: "rpc.ping", payload: {} });
    await settled(client, peer);
    clock.pass(999);
    await settled(client, peer);
    clock.pass(1000);
    assert.equal((await peer.next()).method, "rpc.ping");
  });

  it("is well whatever comes: an error, or anything else", async (t) => {
    const { client, peer, clock } = await open(t, { heartbeat: 1000 });
    clock.pass(1000);
    await peer.refuse({ code: -32601, message: "Invalid RPC parameters" });
    await settled(client, peer);
    clock.pass(1000);
    await peer.next();
    clock.pass(9999);
    peer.send({ channel: "c", event: "x", data: 1 });
    await settled(client, peer);
    clock.pass(1);
    assert.equal(client.state, "open");
    assert.equal(client.ignored, 0);
  });

  it("is left with 4000 when no answer comes within 10 s, and the client comes back", async (t) => {
    const { client, peer, clock, until, back } = await open(t, { heartbeat: 1000 });
    const call = refusal(client.call("a", {}, { timeout: null }));
    await peer.next();
    clock.pass(1000);
    await peer.next();
    clock.pass(10_000);
    const { reason } = await until("waiting");
    assert.deepEqual([reason?.code, reason?.reason], [4000, "the server gave no sign of life"]);
    assert.equal((await call).mayHaveRun, true);
    assert.deepEqual(await peer.closed, [4000, ""]);
    await settled(client, await back());
  });

  for (const heartbeat of [null, 0]) {
    it(`is never asked where the application wants it so, by ${heartbeat}`, async (t) => {
      const { client, peer, clock } = await open(t, { heartbeat });
      clock.pass(10_000_000);
      await settled(client, peer);
      client.hurry();
      assert.equal((await peer.next()).method, "rpc.ping");
    });
  }

  it("does not count what asks among the calls in flight that the application may have", async (t) => {
    const { client, peer, clock } = await open(t, { heartbeat: 1000, calls: 1 });
    const call = client.call("a");
    const { id } = await peer.next();
    clock.pass(1000);
    assert.equal((await peer.next()).method, "rpc.ping");
    peer.send({ id, response: 1 });
    assert.equal(await call, 1);
  });

  it("may answer even that with a stream", async (t) => {
    const { client, peer } = await open(t);
    client.hurry();
    const { id } = await peer.next();
    peer.send({ id, item: 1, seq: 1 });
    peer.send({ id, response: null });
    await settled(client, peer);
  });
});
