// The conversations of `wire/vectors` in the native frames as JSON, held through the client.
//
// What a client can say is said by its methods, and what it sends is compared with what the
// conversation has. What comes is looked at twice: as it is on the wire, and as the application gets
// it. JavaScript reads integers past 2^53 as the nearest number, in what is expected as in what comes.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { Worlds } from "../worlds.js";
import { Replay } from "./replay.js";
import { messages } from "./tap.js";

const VECTORS = new URL("../../../../wire/vectors/", import.meta.url);
const NATIVE = "wsrpc.v1.json";

/** @typedef {Record<string, any>} Vector */

/** @type {[subject: string, vectors: Vector[]][]} */
const SUBJECTS = readdirSync(VECTORS)
  .filter((file) => file.endsWith(".json"))
  .sort()
  .map((file) => [
    file.replace(".json", ""),
    JSON.parse(readFileSync(new URL(file, VECTORS), "utf8")).vectors,
  ]);

/**
 * Whether it is held in JSON-RPC 2.0 or in MessagePack only.
 *
 * @param {Vector} vector
 */
function isOfAnotherDialect({ dialects = [NATIVE], connections = {} }) {
  /** @type {Vector[]} */
  const options = Object.values(connections);
  return (
    !dialects.includes(NATIVE) ||
    options.some(({ speaks, selects }) => (speaks ?? selects ?? NATIVE) !== NATIVE)
  );
}

/**
 * Whether the server selects none of the subprotocols that it is offered. No WebSocket of JavaScript
 * opens then, be it of a browser or of Node.js: a client that always offers one never sees it.
 *
 * @param {Vector} vector
 */
function isOfNoWebSocket({ connections = {} }) {
  /** @type {Vector[]} */
  const options = Object.values(connections);
  return options.some(({ offers, selects }) => offers && selects === null);
}

/** @param {Vector} vector */
const isHeld = (vector) => !isOfAnotherDialect(vector) && !isOfNoWebSocket(vector);

/** @type {Worlds} */
let worlds;
let held = 0;

before(async () => {
  worlds = await Worlds.start();
});

after(async () => {
  await worlds?.stop();
});

describe("a client holds the conversations", () => {
  for (const [subject, vectors] of SUBJECTS) {
    describe(subject, { concurrency: 4 }, () => {
      for (const vector of vectors.filter(isHeld)) {
        it(vector.name, { timeout: 30_000 }, async () => {
          const world = await worlds.open("conversation");
          try {
            await new Replay(world, vector).run();
          } finally {
            await world.close();
          }
          held++;
        });
      }
    });
  }
});

it("all of them", (t) => {
  const all = SUBJECTS.flatMap(([, vectors]) => vectors);
  const others = all.filter(isOfAnotherDialect).length;
  const impossible = all.filter((vector) => !isOfAnotherDialect(vector) && isOfNoWebSocket(vector));
  t.diagnostic(
    `${held} conversations held; ${others} are of other dialects, and ${impossible.length} of no` +
      " WebSocket of JavaScript",
  );
  t.diagnostic(`${messages.said} messages were said by clients, and ${messages.past} past them`);
  assert.equal(impossible.length, 1);
  assert.equal(held, all.length - others - impossible.length);
});
