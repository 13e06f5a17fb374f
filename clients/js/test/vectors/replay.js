// One conversation of `wire/vectors`, held by clients with a server of its own, step by step.

import assert from "node:assert/strict";
import { request } from "node:http";
import { within } from "./mailbox.js";
import { matches, short, text } from "./placeholders.js";
import { Connection } from "./connection.js";

/** @typedef {Record<string, any>} Step */

export class Replay {
  /**
   * @param {import("../worlds.js").World} world
   * @param {Record<string, any>} vector
   */
  constructor(world, vector) {
    this.world = world;
    this.vector = vector;
    /** @type {import("./placeholders.js").Names} */
    this.names = new Map();
    /** @type {Map<string, Connection>} */
    this.connections = new Map();
  }

  /** Hold it from its beginning to its end. */
  async run() {
    const { connections = { a: {} }, steps } = this.vector;
    /** @type {Connection[]} */
    const opened = [];
    try {
      for (const [name, handshake] of Object.entries(connections)) {
        const { url } = this.world;
        const connection = new Connection(url, name, handshake, methodsAsked(steps), this.names);
        opened.push(connection);
        this.connections.set(name, connection);
        await within(connection.opened(), () => `${name} does not open`);
      }
      for (const [index, step] of steps.entries()) await this.step(step, index);
      for (const connection of this.connections.values()) await connection.finish();
    } finally {
      for (const connection of opened) await connection.dispose();
    }
  }

  /**
   * @param {Step} step
   * @param {number} index
   */
  async step(step, index) {
    try {
      if ("from" in step) await this.from(this.connection(step.from), step);
      else if ("to" in step) await this.to(this.connection(step.to), step);
      else if ("release" in step) await this.world.act("release", step.release);
      else if ("server" in step) await this.world.act(step.server);
      else if ("request" in step) await this.request(step.request, step.answer);
      else assert.fail("it is no step of a conversation");
    } catch (error) {
      if (error instanceof Error) error.message = `step ${index}, ${short(step)}: ${error.message}`;
      throw error;
    }
  }

  /**
   * @param {Connection} connection
   * @param {Step} step
   */
  async from(connection, step) {
    const { tap } = connection;
    const times = step.times ?? 1;
    for (let n = 0; n < times; n++) {
      if ("send" in step) await connection.say(connection.written(step.send, n));
      else if ("send_text" in step) connection.sayText(text(step.send_text, n));
      else if ("send_binary" in step) tap.pastBinary(bytes(text(step.send_binary, n)));
      else if ("send_fragments" in step) tap.pastFragments(fragments(step.send_fragments));
      else if ("send_frames" in step) tap.pastFrames(bytes(step.send_frames.join("")));
      else if ("close" in step) connection.close(step.close);
      else if ("reads" in step) tap.read(step.reads);
      else assert.fail("it is nothing that a client does");
    }
  }

  /**
   * @param {Connection} connection
   * @param {Step} step
   */
  async to(connection, step) {
    const times = step.times ?? 1;
    if ("behind" in step) await connection.expectBehind(step.expect, step.behind);
    else if ("expect" in step) {
      for (let n = 0; n < times; n++) await connection.expect(step.expect, n);
    } else if ("expect_in_any_order" in step) {
      const values = step.expect_in_any_order;
      await connection.expectInAnyOrder(Array.isArray(values) ? values : Array(times).fill(values));
    } else if ("closed" in step) {
      this.connections.delete(connection.name);
      await connection.closed(step.closed);
    } else assert.fail("it is nothing that a client gets");
  }

  /**
   * A plain HTTP request.
   *
   * @param {Record<string, string>} headers
   * @param {Record<string, any>} answer
   */
  async request(headers, answer) {
    const asking = request(this.world.url.replace("ws", "http"), { headers, agent: false });
    /** @type {Promise<import("node:http").IncomingMessage>} */
    const answered = new Promise((resolve, reject) => {
      asking.once("response", resolve);
      asking.once("upgrade", (response, socket) => {
        socket.destroy();
        resolve(response);
      });
      asking.once("error", reject);
    });
    asking.end();
    const response = await within(answered, () => "the request is not answered");
    assert.equal(response.statusCode, answer.status);
    for (const [name, value] of Object.entries(answer.headers ?? {})) {
      assert.equal(response.headers[name.toLowerCase()], value);
    }
    if ("json" in answer) {
      let body = "";
      for await (const chunk of response) body += chunk;
      assert.ok(matches(answer.json, JSON.parse(body)), body);
    }
  }

  /** @param {string} name */
  connection(name) {
    const found = this.connections.get(name);
    assert.ok(found, `${name} is closed, or was never opened`);
    return found;
  }
}

/**
 * The methods of the client that the server is asked to call.
 *
 * @param {Step[]} steps
 * @returns {string[]}
 */
function methodsAsked(steps) {
  const asked = steps.map(({ send }) => send?.payload?.method);
  return [...new Set(asked.filter((method) => typeof method === "string"))];
}

/** @param {string} digits */
const bytes = (digits) => Buffer.from(digits.replaceAll(" ", ""), "hex");

/**
 * The fragments of a message: one for each string, and for each repetition.
 *
 * @param {(string | { repeat: string, times: number })[]} pieces
 * @returns {string[]}
 */
function fragments(pieces) {
  return pieces.flatMap((piece) =>
    typeof piece === "string" ? [piece] : Array(piece.times).fill(piece.repeat),
  );
}
