// The conversations of `wire/reconnecting.json`, which the Python client holds too.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { Reconnecting } from "../src/reconnecting.js";

const { vectors } = JSON.parse(readFileSync(new URL("../../../wire/reconnecting.json", import.meta.url), "utf8"));

const DEFAULTS = { first: 0.5, cap: 20, stable: 10 };

describe("a client", () => {
  for (const { name, options, random, steps } of vectors) {
    it(name, () => {
      const draws = [...random];
      const machine = new Reconnecting({ ...DEFAULTS, ...options, random: () => draws.shift() });
      for (const { at, event, again, after, state, due, attempting } of steps) {
        if (event === "failed") machine.failed(at, again, after);
        else if (event === "lost") machine.lost(at, again);
        else if (event === "told") machine.told(at, after);
        else if (event === "opened") machine.opened(at);
        else if (event === "hurry") machine.hurry(at);
        else if (event === "began") machine.began();
        else if (event === "close") machine.close();
        else assert.fail(event);
        assert.deepEqual(
          { at, event, state: machine.state, due: machine.due, attempting: machine.attempting },
          { at, event, state, due, attempting },
        );
      }
      assert.deepEqual(draws, [], "a random number for each delay, and no other");
    });
  }
});

it("all of the conversations are held", () => assert.ok(vectors.length > 10));
