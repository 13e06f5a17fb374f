/** A client and its server, whose clock stands still. */

import { WebSocket } from "ws";
import { Clock } from "./clock.js";
import { connect } from "./module.js";
import { Mailbox, serve } from "./server.js";

/**
 * A client that makes its first attempt.
 *
 * @param {import("node:test").TestContext} t
 * @param {import("../src/options.js").Options & { url?: any }} [options]
 */
export async function begin(t, { url, ...options } = {}) {
  const server = await serve(t);
  const clock = new Clock();
  /** @type {Mailbox<import("../src/options.js").Status>} */
  const states = new Mailbox();
  const client = connect(url?.(server.url) ?? server.url, {
    WebSocket,
    clock,
    onstate: (status) => states.put(status),
    ...options,
  });
  t.after(() => client.close());

  /** Wait until it is in a state. @param {string} state */
  const until = async (state) => {
    for (;;) {
      const status = await states.next();
      if (status.state === state) return status;
    }
  };
  /** Let the time pass until the next attempt. */
  const wait = () => clock.pass(client.status.retryIn ?? 0);
  return { server, clock, states, client, until, wait };
}

/**
 * A client that is connected, and the other end of its connection.
 *
 * @param {import("node:test").TestContext} t
 * @param {Parameters<typeof begin>[1]} [options]
 */
export async function open(t, options) {
  const stage = await begin(t, options);
  const peer = await stage.server.accept();
  await stage.until("open");

  /** Lose the connection, and wait until the client knows. @param {number} [code] */
  const lose = async (code = 1012) => {
    peer.close(code);
    return stage.until("waiting");
  };
  /** Have it come back: the other end of the new connection. */
  const back = async () => {
    stage.wait();
    const next = await stage.server.accept();
    await stage.until("open");
    return next;
  };
  return { ...stage, peer, lose, back };
}

/** Have errors reported, as in a page. @param {import("node:test").TestContext} t @param {(error: unknown) => unknown} report */
export function reporting(t, report) {
  /** @type {any} */
  const page = globalThis; // Node.js has none
  page.reportError = report;
  t.after(() => delete page.reportError);
}

/** What the server answers to `subscribe`. @param {number} [offset] @param {string} [epoch] */
export const kept = (offset = 0, epoch = "e") => ({ subscribed: {}, offset, epoch });

/** @param {number} offset @param {string} [event] */
export const message = (offset, event = "x", channel = "c") => ({ channel, event, data: offset, offset });

/** The answer that recovers. @param {number} offset @param {number[]} offsets */
export const recovered = (offset, offsets, epoch = "e") => ({
  ...kept(offset, epoch),
  recovered: true,
  messages: offsets.map((each) => message(each)),
});

/** The answer that cannot recover. @param {number} offset */
export const lost = (offset, epoch = "e") => ({ ...kept(offset, epoch), recovered: false, messages: [] });

/** The next message, or item. @template T @param {AsyncIterator<T, undefined>} reading @returns {Promise<T>} */
export async function read(reading) {
  const { done, value } = await reading.next();
  if (done) throw new Error("it has ended");
  return value;
}

/** Why a promise is rejected. @param {Promise<unknown>} promise @returns {Promise<any>} */
export const refusal = (promise) =>
  promise.then(
    (value) => {
      throw new Error(`it is not rejected: ${JSON.stringify(value)}`);
    },
    (error) => error,
  );

/** A call and its answer: what either end said before, the other has. @param {import("../src/client.js").Client} client @param {import("./server.js").Peer} peer */
export async function settled(client, peer) {
  const marker = client.call("marker");
  const { method } = await peer.answer(null);
  if (method !== "marker") throw new Error(`the client said ${method}`);
  await marker;
}
