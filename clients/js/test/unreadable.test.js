// What a server should not say: it is ignored, and counted.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { open, read, settled } from "./stage.js";

const MESSAGES = [
  "",
  "{",
  "no JSON",
  "null",
  "1",
  '"text"',
  "[]",
  '[{"event": "x"}]',
  "{}",
  '{"id": 7}',
  '{"id": 7, "response": 1}',
  '{"id": "7", "response": 1}',
  '{"id": {}, "response": 1}',
  '{"response": 1}',
  '{"id": null, "item": 1}',
  '{"id": 7, "item": 1, "seq": 1}',
  '{"error": null}',
  '{"error": {"code": -32700, "message": "JSON string expected"}}',
  '{"error": {"code": -32007, "message": "", "data": {"size": 5, "max": 1}}}',
  '{"id": 7, "method": "confirm"}',
  '{"method": "confirm"}',
  '{"id": "s1", "method": 7}',
  '{"id": "s1", "cancel": 1}',
  '{"channel": "c"}',
  '{"channel": 1, "event": "x"}',
  '{"channel": "c", "event": 1}',
  '{"channel": "c", "event": "x", "offset": "5"}',
  '{"channel": "c", "event": "x", "offset": 1.5}',
  '{"channel": "c", "event": "x", "offset": {}}',
  '{"event": "$reconnect"}',
  '{"event": "$reconnect", "data": {"after": "soon"}}',
  '{"event": "$reconnect", "data": {"after": -1}}',
  '{"event": "$reconnect", "data": {"after": "5"}}',
  '{"event": "$reconnect", "data": {"after": null}}',
  '{"event": "$reconnect", "data": {"after": 1e999}}',
  '{"event": "$other", "data": {"after": 1}}',
];

describe("a message", () => {
  for (const text of MESSAGES) {
    it(`${text || "of nothing"} is ignored`, async (t) => {
      const { client, peer } = await open(t);
      peer.socket.send(text);
      await settled(client, peer);
      assert.equal(client.ignored, 1);
      assert.equal(client.state, "open");
    });
  }

  it("that is binary is ignored", async (t) => {
    const { client, peer } = await open(t);
    peer.socket.send(Buffer.from("{}"));
    await settled(client, peer);
    assert.equal(client.ignored, 1);
  });

  it("with keys that are not known is read", async (t) => {
    const { client, peer } = await open(t);
    const call = client.call("a");
    const { id } = await peer.next();
    peer.send({ id, method: "a", response: 1, since: "2.0" });
    assert.equal(await call, 1);
    assert.equal(client.ignored, 0);
  });

  it("on a channel that nobody subscribed to here is left alone", async (t) => {
    const { client, peer } = await open(t);
    peer.send({ channel: "c", event: "x", data: 1 });
    await settled(client, peer);
    assert.equal(client.ignored, 0);
  });

  it("without an event, as a publisher may leave it out, is one of the empty name", async (t) => {
    const { client, peer } = await open(t);
    const subscription = client.subscribe("c");
    await peer.answer({ subscribed: {} });
    peer.send({ channel: "c", event: "", data: 1 });
    assert.equal((await read(subscription)).event, "");
  });
});
