/** The client: what the application holds, while connections come and go. */

import { addressOf } from "./address.js";
import { historyOf, membersOf, positionOf } from "./answers.js";
import { Call, CAP, FIRST, written } from "./call.js";
import { Calls } from "./calls.js";
import { clock as realClock } from "./clock.js";
import { Connection } from "./connection.js";
import { ABNORMAL, ConnectionClosed, mayReconnect, NORMAL } from "./errors.js";
import { watch } from "./page.js";
import { Reconnecting } from "./reconnecting.js";
import { tell } from "./report.js";
import { Serving } from "./serving.js";
import { Stream } from "./stream.js";
import { Subscription } from "./subscription.js";
import { Subscriptions } from "./subscriptions.js";

/** @typedef {import("./address.js").Address} Address */
/** @typedef {import("./answers.js").Member} Member */
/** @typedef {import("./answers.js").Position} Position */
/** @typedef {import("./options.js").CallOptions} CallOptions */
/** @typedef {import("./options.js").Options} Options */
/** @typedef {import("./options.js").Status} Status */
/** @typedef {import("./reconnecting.js").ClientState} ClientState */
/** @typedef {import("./serving.js").Handler} Handler */
/** @typedef {import("./stream.js").StreamOptions} StreamOptions */

/**
 * @template [T=any]
 * @typedef {import("./answers.js").History<T>} History
 */

/**
 * @template [T=any]
 * @typedef {import("./subscription.js").SubscribeOptions<T>} SubscribeOptions
 */

const TIMEOUT = 30_000;
/** How many connections may be on their way out, as calls are in flight there. */
const LEAVING = 8;

export class Client {
  /** How many messages of the server meant nothing to this client. */
  ignored = 0;
  /** @type {ConnectionClosed | null} how it ended */
  closed = null;

  #url;
  #options;
  #openTimeout;
  #wiring;
  #clock;
  #machine;
  #calls;
  #subscriptions;
  #serving = new Serving();
  /** @type {import("./page.js").Page} */
  #page;
  /** @type {Connection | null} the newest that is open */
  #current = null;
  /** @type {Connection | null} the one that is to be opened */
  #next = null;
  /** @type {Set<Connection>} those that calls in flight, or subscriptions, are still on */
  #leaving = new Set();
  /** Tells attempts apart. */
  #attempt = 0;
  /** @type {() => void} */
  #stopAttempt = () => {};
  /** @type {() => void} */
  #stopDue = () => {};
  /** @type {ConnectionClosed | undefined} */
  #reason;
  /** @type {{ resolve: (client: any) => void, reject: (error: unknown) => void }[]} */
  #waiting = [];
  /** @type {Promise<void> | undefined} when the application has closed it */
  #gone;

  /**
   * @param {Address | (() => Address | Promise<Address>)} url
   * @param {Options} options
   */
  constructor(url, options) {
    const {
      WebSocket = /** @type {any} */ (globalThis).WebSocket,
      clock = realClock,
      first = FIRST,
      cap = CAP,
      stable = 10_000,
      openTimeout = 10_000,
      heartbeat = 25_000,
      calls = 64,
      waiting = 1000,
      queueBytes = 2 ** 20,
      serve = {},
    } = options;
    this.#url = url;
    this.#clock = clock;
    this.#options = options;
    this.#openTimeout = openTimeout;
    this.#wiring = { WebSocket, clock, heartbeat, serving: this.#serving, owner: this.#owner };
    this.#machine = new Reconnecting({ random: clock.random, first, cap, stable });
    this.#calls = new Calls({
      clock,
      calls,
      waiting,
      queueBytes,
      refusal: () => this.#refusal(),
    });
    this.#subscriptions = new Subscriptions(this.#calls, () => this.#endLeft());
    for (const [method, handler] of Object.entries(serve)) this.serve(method, handler);
    // What is wrong from the beginning is the caller's fault.
    if (typeof url !== "function") addressOf(url);
    if (!WebSocket) throw new TypeError("there is no WebSocket here: pass one, as that of the package ws");
    this.#page = watch(() => this.hurry());
    if (this.#page.online()) this.#try();
    else this.#stopAttempt = clock.after(0, () => this.#failed(new ConnectionClosed(ABNORMAL, "there is no network")));
  }

  /** @returns {ClientState} */
  get state() {
    return this.#machine.state;
  }

  /** @returns {Status} */
  get status() {
    const { state, due } = this.#machine;
    return { state, reason: this.#reason, retryIn: due === null ? undefined : Math.max(0, due - this.#clock.now()) };
  }

  /**
   * Wait until there is a connection.
   *
   * @returns {Promise<this>} rejects with ConnectionClosed if there will be none
   */
  opened() {
    /** @type {Promise<this>} */
    const opened = new Promise((resolve, reject) => {
      if (this.closed) reject(this.closed);
      else if (this.state === "open") resolve(this);
      else this.#waiting.push({ resolve, reject });
    });
    opened.catch(() => {}); // nobody need wait for it
    return opened;
  }

  /**
   * Call a method of the server.
   *
   * @template [T=any]
   * @param {string} method
   * @param {object | null} [payload] anything whose JSON form is an object
   * @param {CallOptions} [options]
   * @returns {Promise<T>} its response
   * @throws {import("./errors.js").CallFailed} the server's error
   * @throws {ConnectionClosed} `mayHaveRun` says whether it may have run
   */
  async call(method, payload, { timeout = TIMEOUT, signal, idempotent } = {}) {
    const write = written(method, payload);
    return new Promise((resolve, reject) => {
      /** @param {unknown} error @param {any} response @param {Connection | null} connection */
      const ended = (error, response, connection) => (connection && !error ? resolve(response) : reject(error));
      this.#calls.begin(new Call({ method, write, timeout, signal, idempotent, ended }));
    });
  }

  /**
   * Call a method of the server without an answer.
   *
   * @param {string} method
   * @param {object | null} [payload]
   * @throws {ConnectionClosed | import("./errors.js").CallFailed} if it is not even queued
   */
  notify(method, payload) {
    /** @type {unknown} */
    let fault = null;
    const call = new Call({ method, write: written(method, payload), notification: true, ended: (error) => (fault ??= error) });
    this.#calls.begin(call);
    if (fault) throw fault;
  }

  /**
   * Call a method of the server that answers with a stream.
   *
   * @template [T=any]
   * @param {string} method
   * @param {object | null} [payload]
   * @param {StreamOptions} [options]
   * @returns {Stream<T>}
   */
  stream(method, payload, options = {}) {
    return new Stream(this.#calls, this.#clock, method, written(method, payload), options);
  }

  /**
   * Subscribe to the events of a channel that fit a pattern.
   *
   * @template [T=any]
   * @param {string} channel
   * @param {SubscribeOptions<T>} [options]
   * @returns {Subscription<T>}
   */
  subscribe(channel, options = {}) {
    const { timeout = TIMEOUT, signal } = options;
    const subscription = new Subscription(channel, options, (each) => this.#subscriptions.end(each, null));
    this.#subscriptions.open(subscription, timeout, signal);
    return subscription;
  }

  /**
   * Publish a message.
   *
   * @param {string} channel
   * @param {string} event
   * @param {unknown} data anything that has a JSON form
   * @param {Omit<CallOptions, "idempotent"> & { key?: string }} [options] with a `key` of its own, as a
   *   UUID, it is published once however often it is sent
   * @returns {Promise<Position | null>} its position, on a channel that keeps history
   */
  async publish(channel, event, data, { key, ...options } = {}) {
    const payload = { channel, event, data: data ?? null, key };
    return positionOf(await this.call("publish", payload, { ...options, idempotent: key != null }));
  }

  /**
   * Read messages of a channel that are kept: the oldest behind `since`, in `reverse` the newest
   * before it.
   *
   * @template [T=any]
   * @param {string} channel
   * @param {Omit<CallOptions, "idempotent"> & { since?: Position, limit?: number, reverse?: boolean }} [options]
   * @returns {Promise<History<T>>}
   */
  async history(channel, { since, limit, reverse, ...options } = {}) {
    const payload = { channel, since, limit, reverse };
    return historyOf(channel, await this.call("history", payload, { ...options, idempotent: true }));
  }

  /**
   * Who is on a channel, in the order in which they came.
   *
   * @param {string} channel
   * @param {Omit<CallOptions, "idempotent">} [options]
   * @returns {Promise<Member[]>}
   */
  async presence(channel, options) {
    return membersOf(await this.call("presence", { channel }, { ...options, idempotent: true }));
  }

  /**
   * Let the server call a function. One serves a method: a later one replaces it. To miss none of the
   * server's first calls, give them to `connect`.
   *
   * @param {string} method
   * @param {Handler} handler
   * @returns {() => void} takes it back
   */
  serve(method, handler) {
    const { handlers } = this.#serving;
    if (typeof handler !== "function") throw new TypeError(`no function serves ${method}`);
    handlers.set(method, handler);
    return () => {
      if (handlers.get(method) === handler) handlers.delete(method);
    };
  }

  /** It makes sense to try at once; or to ask whether the server is still there. */
  hurry() {
    this.#machine.hurry(this.#clock.now());
    this.#current?.probe();
    this.#schedule();
  }

  /**
   * Close it for good, behind all that was sent.
   *
   * @param {number} [code] 1000, or 3000 to 4999
   * @param {string} [reason] at most 123 bytes
   * @returns {Promise<void>} when the server knows, or did not answer for 5 s
   */
  async close(code = NORMAL, reason = "") {
    if ((code !== NORMAL && !(code >= 3000 && code <= 4999)) || new TextEncoder().encode(reason).length > 123) {
      throw new RangeError("close with 1000, or 3000 to 4999, and at most 123 bytes");
    }
    await (this.#gone ??= this.#finish(new ConnectionClosed(code, reason), true));
  }

  /** @returns {ConnectionClosed | null} why nothing can be said now */
  #refusal() {
    if (this.closed) return new ConnectionClosed(this.closed.code, this.closed.reason);
    const isAway = this.#options.offline === "fail" && !this.#calls.connection;
    return isAway ? new ConnectionClosed(ABNORMAL, "there is no connection") : null;
  }

  /** Make an attempt. */
  async #try() {
    const attempt = ++this.#attempt;
    this.#stopAttempt = this.#clock.after(this.#openTimeout, () => {
      const error = new ConnectionClosed(ABNORMAL, `no connection within ${this.#openTimeout} ms`);
      if (this.#next) this.#next.end(error, NORMAL);
      else this.#failed(error);
    });
    const url = this.#url;
    try {
      // What throws at once does so later, too: nothing is told in between.
      const address = await new Promise((resolve) => resolve(typeof url === "function" ? url() : url));
      if (attempt === this.#attempt) this.#next = new Connection(addressOf(address), this.#wiring);
    } catch (error) {
      if (attempt === this.#attempt) this.#failed(new ConnectionClosed(ABNORMAL, String(error), false, error));
    }
  }

  /** @type {import("./connection.js").Owner} */
  #owner = {
    opened: (connection) => this.#opened(connection),
    ended: (connection, error) => this.#ended(connection, error),
    leave: (connection, after) => this.#leave(connection, after),
    item: (_, call, item, size) => this.#calls.item(call, item, size),
    answered: (connection, call, error, response) => {
      this.#calls.answered(call, connection, error, response);
      this.#calls.flush();
      this.#endLeft();
    },
    message: (connection, message, size) => this.#subscriptions.deliver(connection, message, size),
    freed: () => this.#endLeft(),
    ignored: () => this.ignored++,
  };

  /** @param {Connection} connection */
  #opened(connection) {
    this.#stopTrying();
    if (this.#current) this.#leaving.add(this.#current);
    this.#current = this.#calls.connection = connection;
    this.#machine.opened(this.#clock.now());
    this.#subscriptions.renew();
    this.#calls.flush();
    for (const { resolve } of this.#waiting.splice(0)) resolve(this);
    this.#changed();
    this.#endLeft();
  }

  /** @param {ConnectionClosed} reason */
  #failed(reason) {
    this.#stopTrying();
    this.#machine.failed(this.#clock.now(), true);
    this.#changed(reason);
  }

  /** No attempt is under way any more. */
  #stopTrying() {
    this.#attempt++;
    this.#stopAttempt();
    this.#next = null;
  }

  /**
   * @param {Connection} connection
   * @param {ConnectionClosed} error
   */
  #ended(connection, error) {
    if (this.closed) return this.#calls.lost(connection, error);
    if (connection === this.#next) return this.#failed(error);
    this.#leaving.delete(connection);
    const isLast = connection === this.#current;
    if (isLast) this.#current = this.#calls.connection = null;
    this.#calls.lost(connection, error);
    if (isLast) {
      this.#machine.lost(this.#clock.now(), mayReconnect(error.code));
      this.#changed(error);
    }
  }

  /**
   * The server of a connection is about to close it.
   *
   * @param {Connection} connection
   * @param {number} after
   */
  #leave(connection, after) {
    if (connection !== this.#current) return;
    this.#calls.connection = null; // it takes no more calls
    this.#machine.told(this.#clock.now(), after);
    this.#changed();
  }

  /**
   * Something has: wait until the next attempt is due, and tell the application.
   *
   * @param {ConnectionClosed} [reason]
   */
  #changed(reason) {
    this.#reason = reason;
    if (this.state === "closed") this.#finish(/** @type {ConnectionClosed} */ (reason), false);
    else {
      this.#schedule();
      tell(this.#options.onstate, this.status);
    }
  }

  /** Make an attempt when it is due. */
  #schedule() {
    const { due } = this.#machine;
    this.#stopDue();
    if (due === null) return;
    this.#stopDue = this.#clock.after(Math.max(0, due - this.#clock.now()), () => {
      if (!this.#page.online()) return; // and when it is, somebody is in a hurry
      this.#machine.began();
      this.#try();
      this.#changed(this.#reason);
    });
  }

  /** Close the connections that nothing is on any more. */
  #endLeft() {
    for (const connection of this.#leaving) {
      const isOver = connection.idle && !this.#subscriptions.need(connection);
      if (isOver || this.#leaving.size > LEAVING) connection.end(new ConnectionClosed(NORMAL), NORMAL, "moved");
    }
  }

  /**
   * There will be no connection any more.
   *
   * @param {ConnectionClosed} error
   * @param {boolean} wanted by the application
   */
  async #finish(error, wanted) {
    if (this.closed) return;
    this.closed = this.#reason = error;
    this.#machine.close();
    this.#page.stop();
    this.#stopDue();
    const connections = [...this.#leaving, this.#current, this.#next];
    this.#stopTrying();
    this.#current = this.#calls.connection = null;
    this.#leaving.clear();
    this.#subscriptions.close(wanted ? null : error);
    const [code, reason] = wanted ? [error.code, error.reason] : [NORMAL];
    const gone = connections.map((each) => each?.end(error, code, reason));
    this.#calls.close(error);
    for (const { reject } of this.#waiting.splice(0)) reject(error);
    tell(this.#options.onstate, this.status);
    await Promise.all(gone);
  }
}
