import assert from "node:assert/strict";
import { it } from "node:test";
import { Inbox, Reading } from "../src/inbox.js";

it("what is queued is read in its order, and then the end", async () => {
  const inbox = new Inbox(1000);
  inbox.put("a", 1);
  inbox.put("b", 1);
  inbox.end(null);
  inbox.end(new Error("only the first end counts"));
  assert.deepEqual(await inbox.next(), { done: false, value: "a" });
  assert.deepEqual(await inbox.next(), { done: false, value: "b" });
  assert.deepEqual(await inbox.next(), { done: true, value: undefined });
  assert.deepEqual(await inbox.next(), { done: true, value: undefined });
});

it("several readers get one each, in the order in which they came", async () => {
  const inbox = new Inbox(1000);
  const readers = [inbox.next(), inbox.next(), inbox.next()];
  inbox.put("a", 1);
  inbox.put("b", 1);
  inbox.end(null);
  assert.deepEqual(await Promise.all(readers), [
    { done: false, value: "a" },
    { done: false, value: "b" },
    { done: true, value: undefined },
  ]);
});

it("an error that ended it is told to each reader", async () => {
  const inbox = new Inbox(1000);
  const error = new Error("that was it");
  inbox.end(error);
  await assert.rejects(inbox.next(), error);
  await assert.rejects(inbox.next(), error);
});

it("an error in the place of a message is read like one, and the next can be read", async () => {
  const inbox = new Inbox(1000);
  const error = new Error("something was lost");
  inbox.put(error, 0);
  inbox.put("a", 1);
  await assert.rejects(inbox.next(), error);
  assert.deepEqual(await inbox.next(), { done: false, value: "a" });
});

it("a message costs 256 bytes besides its text, and what is read costs nothing", async () => {
  const inbox = new Inbox(2 * (256 + 10));
  assert.ok(inbox.put("a", 10));
  assert.ok(inbox.put("b", 10));
  assert.ok(!inbox.put("c", 0));
  await inbox.next();
  assert.ok(inbox.put("c", 10));
  assert.ok(!inbox.put("d", 0));
  inbox.clear();
  assert.ok(inbox.put("e", 266));
  assert.deepEqual(await inbox.next(), { done: false, value: "e" });
});

it("nothing is queued behind the end", async () => {
  const inbox = new Inbox(1000);
  inbox.end(null);
  assert.ok(inbox.put("a", 1));
  assert.deepEqual(await inbox.next(), { done: true, value: undefined });
});

it("who reads is told what was taken", async () => {
  /** @type {unknown[]} */
  const taken = [];
  const inbox = new Inbox(1000, (value) => taken.push(value));
  inbox.put("a", 1);
  assert.deepEqual(taken, []);
  await inbox.next();
  assert.deepEqual(taken, ["a"]);
});

it("what has nothing to be read is over at once", async () => {
  const reading = new Reading();
  for await (const _ of reading) assert.fail();
  assert.deepEqual(await reading.return(), { done: true, value: undefined });
});
