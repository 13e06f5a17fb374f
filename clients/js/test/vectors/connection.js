// One connection of a conversation: a client, and the tap on its WebSocket.

import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { CallFailed, ConnectionClosed, connect, RpcError } from "../../src/index.js";
import { Mailbox, within } from "./mailbox.js";
import { compare, expand, isObject, matches, short } from "./placeholders.js";
import { isId, meaning, wayOf } from "./speech.js";
import { Subscriber } from "./subscriber.js";
import { Tap } from "./tap.js";

/** @typedef {Record<string, any>} Frame */

/**
 * A call that the client made.
 *
 * @typedef {object} Said
 * @property {string} way the method of the client
 * @property {AbortController} abort
 * @property {Promise<{ value?: any, error?: any }>} outcome
 * @property {any[]} items what came to the reader, of a stream
 * @property {any[]} expected what has come, of a stream
 * @property {boolean} timed whether the client itself may give it up first
 * @property {Subscriber} [subscriber]
 */

/**
 * A call of the server that the client runs.
 *
 * @typedef {object} Served
 * @property {unknown} payload
 * @property {AbortSignal} signal
 * @property {(answer: unknown) => void} answer
 * @property {(error: Error) => void} fail
 */

/** Longer than any conversation: what is due then never happens. */
const NEVER = 2_000_000_000;

const CANNOT_BE_THE_CLIENTS = 1_000_000_000;
const IN_FLIGHT = "A call with this id is in flight, use another id";

export class Connection {
  /**
   * @param {string} url
   * @param {string} name
   * @param {import("./tap.js").Handshake} handshake
   * @param {string[]} methods those that the server may call
   * @param {import("./placeholders.js").Names} names
   */
  constructor(url, name, handshake, methods, names) {
    this.name = name;
    this.names = names;
    this.selects = handshake.selects;
    this.tap = new Tap(handshake);
    this.tap.withholds = (frame) => this.isOfRefused(frame);
    /** The ids on the wire of those in the conversation, as JSON. @type {Map<string, any>} */
    this.ids = new Map();
    /** What the client said and is not over, by its id on the wire. @type {Map<any, Said>} */
    this.calls = new Map();
    /** @type {Subscriber[]} */
    this.subscribers = [];
    /** Calls with an id that was in flight, which were said past the client. @type {any[]} */
    this.refused = [];
    /** @type {Mailbox<Served>} */
    this.handled = new Mailbox();
    /** Calls of the server that are not answered, by their ids. @type {Map<string, Served>} */
    this.served = new Map();
    /** Whether the server has said that it ends: the client says no call to it any more. */
    this.leaves = false;
    let attempts = 0;
    this.client = connect(() => (attempts++ ? new Promise(() => {}) : url), {
      WebSocket: this.tap.WebSocket,
      serve: Object.fromEntries(methods.map((method) => [method, this.handler()])),
      heartbeat: NEVER,
      openTimeout: NEVER,
      calls: 200,
    });
  }

  /** Wait until it is open. */
  async opened() {
    await this.client.opened();
    const selected = /** @type {any} */ (this.tap.socket).selected;
    if (this.selects !== undefined) assert.equal(selected, this.selects ?? "");
    else assert.equal(selected, "wsrpc.v1.json");
  }

  /** @returns {(payload: unknown, context: { signal: AbortSignal }) => Promise<unknown>} */
  handler() {
    return (payload, { signal }) =>
      new Promise((answer, fail) => this.handled.put({ payload, signal, answer, fail }));
  }

  // --- what the client says ------------------------------------------------------------------------

  /**
   * What the conversation has the client say, with its placeholders filled in.
   *
   * @param {any} value
   * @param {number} n
   */
  written(value, n) {
    return expand(value, n, this.names);
  }

  /**
   * The client says this, or it is said past it.
   *
   * @param {any} frame
   */
  async say(frame) {
    const way = wayOf(frame);
    if (way === "cancel") await this.cancel(frame);
    else if (way === "answer") await this.answer(frame);
    else if (way === null || this.leaves) this.sayPast(frame);
    else if (way === "notify") await this.notify(frame);
    else if (this.isInFlight(frame.id)) {
      this.refused.push(this.idOf(frame.id));
      this.sayPast(frame);
    } else if (frame.method === "unsubscribe") await this.unsubscribe(frame);
    else await this.call(way, frame);
  }

  /** @param {Frame} frame */
  async cancel(frame) {
    const call = this.isInFlight(frame.id) && this.calls.get(this.idOf(frame.id));
    if (!call || call.abort.signal.aborted) return this.sayPast(frame);
    const sent = this.tap.permit(({ cancel, id }) => cancel && id === this.idOf(frame.id));
    call.abort.abort(new Error("nobody waits for it"));
    this.compareSaid(frame, await this.sent(sent, frame));
  }

  /** @param {Frame} frame */
  async answer(frame) {
    const served = this.served.get(frame.id);
    if (!served) return this.sayPast(frame);
    this.served.delete(frame.id);
    const sent = this.tap.permit(
      (said) => said.id === frame.id && ("response" in said || "error" in said),
    );
    if ("response" in frame) served.answer(frame.response);
    else {
      const { code, message, data, errors, retry_after: retryAfter } = frame.error;
      served.fail(new RpcError(code, message, { data, errors, retryAfter }));
    }
    const said = await this.sent(sent, frame);
    // whoever is told that nobody waits any more has nothing else to say
    if (served.signal.aborted) assert.equal(said.error?.code, -32006, short(said));
    else this.compareSaid(frame, said);
  }

  /** @param {Frame} frame */
  async notify(frame) {
    const sent = this.tap.permit(({ id, method }) => id === null && method === frame.method);
    this.client.notify(frame.method, frame.payload ?? undefined);
    this.compareSaid(frame, await this.sent(sent, frame));
  }

  /** @param {Frame} frame */
  async unsubscribe(frame) {
    const { channel, event } = frame.payload ?? {};
    const there = this.subscribers.filter((each) => each.isOpen && each.channel === channel);
    const meant = event ? there.filter((each) => each.event === event) : there;
    if (meant.length !== 1) return this.call("call", frame);
    const [subscriber] = /** @type {[Subscriber]} */ (meant);
    const sent = this.tap.permit(({ method }) => method === "unsubscribe");
    subscriber.leave();
    const said = await this.sent(sent, frame);
    this.ids.set(JSON.stringify(frame.id), said.id);
    // to leave a channel is to take back its only pattern
    const payload = { channel, event: subscriber.event };
    this.compareSaid({ ...frame, payload }, { ...said, payload: { event: payload.event, ...said.payload } });
  }

  /**
   * @param {string} way
   * @param {Frame} frame
   */
  async call(way, frame) {
    const { client } = this;
    const { method, payload, timeout = null } = frame;
    const { channel, event, data, key, recover, presence, since, limit, reverse } = payload ?? {};
    const abort = new AbortController();
    const options = { signal: abort.signal, ...(timeout !== null && { timeout }) };
    /** @type {any[]} */
    const items = [];
    /** @type {Subscriber | undefined} */
    let subscriber;
    const sent = this.tap.permit((said) => said.method === method && said.id !== null);
    /** @type {Promise<any>} */
    let promise;
    switch (way) {
      case "stream":
        promise = collect(client.stream(method, payload ?? undefined, options), items);
        break;
      case "subscribe": {
        const asked = {
          ...options,
          event: event || "*",
          recover: recover ?? undefined,
          presence: presence === true,
        };
        const subscription = client.subscribe(channel, asked);
        subscriber = new Subscriber(subscription, payload);
        this.subscribers.push(subscriber);
        promise = subscription.opened();
        break;
      }
      case "publish":
        promise = client.publish(channel, event ?? "", data, { ...options, ...(isText(key) && { key }) });
        break;
      case "history":
        promise = client.history(channel, {
          ...options,
          since: since ?? undefined,
          limit: limit ?? undefined,
          reverse: reverse ?? undefined,
        });
        break;
      case "presence":
        promise = client.presence(channel);
        break;
      default:
        promise = client.call(method, payload ?? undefined, options);
    }
    const outcome = promise.then(
      (value) => ({ value }),
      (error) => ({ error }),
    );
    const timed = timeout !== null;
    const call = { way, abort, outcome, items, expected: [], timed, ...(subscriber && { subscriber }) };
    const said = await this.sent(sent, frame);
    this.compareSaid(frame, said);
    this.ids.set(JSON.stringify(frame.id), said.id);
    this.calls.set(said.id, call);
  }

  /**
   * Say what no proper client says. An id is that of the call of the client that it means, or none
   * that the client may have.
   *
   * @param {any} frame
   */
  sayPast(frame) {
    if (isObject(frame) && isId(frame.id) && !("response" in frame || "error" in frame)) {
      const key = JSON.stringify(frame.id);
      const isMeant = this.isInFlight(frame.id) || (frame.cancel === true && this.ids.has(key));
      if (!isMeant && Number.isInteger(frame.id)) {
        this.ids.set(key, CANNOT_BE_THE_CLIENTS + frame.id);
      } else if (!isMeant) this.ids.delete(key);
      frame = { ...frame, id: this.idOf(frame.id) };
    }
    this.tap.past(JSON.stringify(frame));
  }

  /**
   * Say exactly this text, past the client.
   *
   * @param {string} text
   */
  sayText(text) {
    this.ids.clear();
    this.tap.past(text);
  }

  /**
   * @param {Promise<Frame>} said
   * @param {Frame} frame
   */
  sent(said, frame) {
    return within(
      said,
      () => `the client does not say ${short(frame)}, but ${short(this.tap.unasked)}`,
    );
  }

  /**
   * @param {Frame} expected what the conversation has
   * @param {Frame} said what the client says
   */
  compareSaid(expected, said) {
    assert.deepEqual(meaning(said, expected), meaning(expected, said));
  }

  // --- what comes ----------------------------------------------------------------------------------

  /**
   * The next message to this client.
   *
   * @param {string} what what is expected
   * @returns {Promise<any>}
   */
  async receive(what) {
    const frame = await this.tap.received.take(
      () => `${this.name} gets nothing, instead of ${what}`,
    );
    await this.came(frame);
    return frame;
  }

  /**
   * What is expected, as it is written on this connection.
   *
   * @param {any} value
   * @param {number} n
   */
  expected(value, n) {
    const frame = expand(value, n, this.names);
    const ours = isObject(frame) && ("response" in frame || "error" in frame || "item" in frame);
    return ours && "id" in frame ? { ...frame, id: this.idOf(frame.id) } : frame;
  }

  /**
   * The next message is this.
   *
   * @param {any} value
   * @param {number} [n]
   */
  async expect(value, n = 0) {
    const expected = this.expected(value, n);
    compare(expected, await this.receive(short(expected)), this.names);
  }

  /**
   * The next message is this, behind any number of others.
   *
   * @param {any} value
   * @param {any} others
   */
  async expectBehind(value, others) {
    const behind = this.expected(others, 0);
    const expected = this.expected(value, 0);
    let frame;
    do frame = await this.receive(short(expected));
    while (matches(behind, frame));
    compare(expected, frame, this.names);
  }

  /**
   * The next messages are these.
   *
   * @param {any[]} values
   */
  async expectInAnyOrder(values) {
    const expected = values.map((value, n) => this.expected(value, n));
    while (expected.length) {
      const frame = await this.receive(short(expected));
      const index = expected.findIndex((each) => matches(each, frame));
      assert.ok(index >= 0, `${short(frame)} is none of ${short(expected)}`);
      compare(expected[index], frame, this.names);
      expected.splice(index, 1);
    }
  }

  /**
   * A message has come: see that the client made of it what it must.
   *
   * @param {any} frame
   */
  async came(frame) {
    if (!isObject(frame) || this.isOfRefused(frame)) {
      this.refused = this.refused.filter((id) => id !== frame.id);
    } else if ("channel" in frame) {
      for (const subscriber of this.subscribers) subscriber.came(frame);
    } else if (frame.event === "$reconnect") this.leaves = true;
    else if ("item" in frame) this.calls.get(frame.id)?.expected.push(frame.item);
    else if ("response" in frame || "error" in frame) await this.ended(frame);
    else if (frame.cancel) await this.cancelled(frame);
    else await this.asked(frame);
  }

  /** @param {Frame} frame */
  async ended(frame) {
    const call = this.calls.get(frame.id);
    if (!call) return;
    this.calls.delete(frame.id);
    // what may be done twice is done again, later
    if (call.way === "publish" && frame.error?.data?.limit === "keys") return;
    const { value, error } = await within(call.outcome, () => `${short(frame)} ends no call`);
    if (error) call.subscriber?.refused(error);
    if (call.abort.signal.aborted) assert.equal(error, call.abort.signal.reason);
    else if (call.timed && error?.name === "TimeoutError") assert.equal(frame.error?.code, -32005);
    else if ("error" in frame) failedBy(frame.error, error);
    else if (error) throw error;
    else returnedBy(call.way, frame.response, value, call);
    if (call.way === "stream" && !call.abort.signal.aborted) {
      assert.deepEqual(call.items, call.expected);
    }
  }

  /** @param {Frame} frame */
  async asked(frame) {
    const served = await this.handled.take(() => `no handler is called for ${short(frame)}`);
    assert.deepEqual(served.payload, frame.payload);
    if (frame.id !== null) this.served.set(frame.id, served);
  }

  /** @param {Frame} frame */
  async cancelled(frame) {
    const signal = this.served.get(frame.id)?.signal;
    if (!signal || signal.aborted) return;
    const aborted = new Promise((resolve) => signal.addEventListener("abort", resolve));
    await within(aborted, () => `no handler is cancelled by ${short(frame)}`);
  }

  /**
   * Whether it answers a call that was said past the client, with an id that the client's has, too.
   *
   * @param {any} frame
   */
  isOfRefused(frame) {
    return this.refused.includes(frame?.id) && frame.error?.message === IN_FLIGHT;
  }

  // --- how it ends ---------------------------------------------------------------------------------

  /**
   * The client closes.
   *
   * @param {number} code
   */
  close(code) {
    this.closing = this.client.close(code);
  }

  /**
   * With nothing in front of it, the closing frame of the server has this code.
   *
   * @param {number} expected
   */
  async closed(expected) {
    const { client, tap } = this;
    const { code, reason } = await tap.closed.take(() => `${this.name} is not closed`);
    assert.deepEqual(tap.received.items, [], `${this.name} gets something instead of being closed`);
    assert.equal(code, expected);
    await this.closing;
    for (const call of this.calls.values()) {
      const { error } = await within(call.outcome, () => "a call outlives its connection");
      assert.ok(error instanceof ConnectionClosed, short(error));
      assert.equal(error.code, code);
      assert.equal(error.mayHaveRun, true);
    }
    await turn();
    const why = /** @type {any} */ (client.closed ?? client.status.reason);
    assert.ok(why instanceof ConnectionClosed, `closed for ${short(why)}`);
    assert.equal(why.code, code);
    assert.equal(why.reason, reason);
    if (comesBack(code)) assert.match(client.state, /^(waiting|connecting)$/);
    else assert.equal(client.state, "closed");
    if (client.state === "closed") for (const each of this.subscribers) await each.over;
    await this.leave();
  }

  /** See that nothing else came, and that the client still works. */
  async finish() {
    await this.say({ id: "end", method: "echo", payload: { end: true } });
    await this.expect({ id: "end", method: "echo", response: { end: true } });
    await turn();
    for (const subscriber of this.subscribers) subscriber.check();
    assert.equal(this.client.state, "open");
    await this.leave();
  }

  /** Close the client, and see that it said nothing that nobody can explain. */
  async leave() {
    await this.client.close();
    assert.equal(this.client.state, "closed");
    for (const frame of this.tap.unasked) {
      assert.ok(mayBeSaid(frame), `the client says ${short(frame)} of its own accord`);
    }
  }

  /** Whatever has become of it, let go of it. */
  async dispose() {
    await this.client.close();
  }

  /**
   * Whether a call of the client has this id in the conversation.
   *
   * @param {unknown} id
   */
  isInFlight(id) {
    const key = JSON.stringify(id);
    return this.ids.has(key) && this.calls.has(this.ids.get(key));
  }

  /**
   * The id on the wire of one in the conversation.
   *
   * @param {unknown} id
   */
  idOf(id) {
    const key = JSON.stringify(id);
    return this.ids.has(key) ? this.ids.get(key) : id;
  }
}

/**
 * What clients say of their own accord: that nobody waits for a call any more, or for messages; that
 * a call of the server that was cancelled has ended.
 *
 * @param {Frame} frame
 */
function mayBeSaid(frame) {
  return (
    isDeepStrictEqual(Object.keys(frame), ["id", "cancel"]) ||
    frame.method === "unsubscribe" ||
    frame.error?.code === -32006
  );
}

/**
 * @param {number} code
 */
function comesBack(code) {
  return ![1000, 1002, 1003].includes(code) && !(code >= 4500 && code <= 4999);
}

/**
 * @param {Frame} expected the error on the wire
 * @param {any} error what the client threw
 */
function failedBy(expected, error) {
  assert.ok(error instanceof CallFailed, `instead of ${short(expected)}, ${short(error)}`);
  assert.equal(error.code, expected.code);
  assert.equal(error.message, expected.message);
  assert.deepEqual(error.data, expected.data);
  assert.deepEqual(error.errors, expected.errors);
  assert.equal(error.retryAfter, expected.retry_after);
}

/**
 * @param {string} way
 * @param {any} response what is on the wire
 * @param {any} value what the client returned
 * @param {Said} call
 */
function returnedBy(way, response, value, { subscriber }) {
  switch (way) {
    case "stream":
      return;
    case "subscribe":
      return subscriber?.agreed(response);
    case "publish":
      return assert.deepEqual(value, positionOf(response));
    case "history":
      assert.deepEqual(value.position, positionOf(response));
      return assert.deepEqual(
        value.messages.map(unplaced),
        response.messages,
      );
    case "presence":
      return assert.deepEqual(value, response.members);
    default:
      return assert.deepEqual(value, response);
  }
}

/** @param {Frame} response */
function positionOf({ offset, epoch }) {
  return offset === undefined ? null : { offset, epoch };
}

/** @param {Frame} message */
function unplaced({ channel, event, data, position }) {
  return { channel, event, data, offset: position.offset };
}

/** @param {unknown} value */
const isText = (value) => typeof value === "string";

/** What is under way in this process has come to its end. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

/**
 * @param {AsyncIterable<any>} stream
 * @param {any[]} items
 */
async function collect(stream, items) {
  for await (const item of stream) items.push(item);
}
