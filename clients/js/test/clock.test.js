import assert from "node:assert/strict";
import { it } from "node:test";
import { clock } from "../src/clock.js";

it("a clock goes forward", () => {
  const before = clock.now();
  assert.ok(clock.now() >= before);
  assert.ok(clock.random() < 1);
});

it("what is to be done after a time is done then, unless it is taken back", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  /** @type {string[]} */
  const done = [];
  clock.after(100, () => done.push("a"));
  clock.after(50, () => done.push("b"))();
  t.mock.timers.tick(99);
  assert.deepEqual(done, []);
  t.mock.timers.tick(1);
  assert.deepEqual(done, ["a"]);
});

it("what is later than a timer can count is never done, and not at once", (t) => {
  const timer = t.mock.method(globalThis, "setTimeout");
  for (const ms of [2 ** 31, Infinity, NaN]) clock.after(ms, () => assert.fail())();
  assert.equal(timer.mock.callCount(), 0);
  clock.after(2 ** 31 - 1, () => assert.fail())();
  assert.equal(timer.mock.callCount(), 1);
});
