/**
 * What a client is subscribed to: which of its subscriptions gets which message, and what the server
 * is asked for.
 *
 * The server knows one subscription for a pattern of a channel, here there may be several. Each of
 * them asks the server, and the last to leave tells it. The server works on these calls of a channel
 * one after another, so what it and this client believe agrees.
 */

import { positionOf } from "./answers.js";
import { Call, whenAborted } from "./call.js";
import { PATIENCE_OVER } from "./calls.js";
import { CallFailed, CANCELLED, TooSlow } from "./errors.js";

/** @typedef {import("./calls.js").Calls} Calls */
/** @typedef {import("./connection.js").Connection} Connection */
/** @typedef {import("./subscription.js").Subscription} Subscription */

export class Subscriptions {
  #calls;
  #moved;
  /** @type {Map<string, Set<Subscription>>} by channel */
  #channels = new Map();

  /**
   * @param {Calls} calls
   * @param {() => void} moved one of them is on another connection now, or on none
   */
  constructor(calls, moved) {
    this.#calls = calls;
    this.#moved = moved;
  }

  /**
   * Subscribe.
   *
   * @param {Subscription} subscription
   * @param {number | null} timeout
   * @param {AbortSignal} [signal]
   */
  open(subscription, timeout, signal) {
    const { channel } = subscription;
    if (signal?.aborted) return this.end(subscription, signal.reason);
    subscription._forget = whenAborted(signal, (reason) => this.end(subscription, reason));
    const set = this.#channels.get(channel) ?? new Set();
    this.#channels.set(channel, set.add(subscription));
    this.#calls.begin(this.#ask(subscription, timeout));
  }

  /**
   * A subscription ends: nobody wants it, or it cannot go on.
   *
   * @param {Subscription} subscription
   * @param {unknown} error why; null if it was left
   */
  end(subscription, error) {
    if (subscription._over) return;
    const { channel, _asking } = subscription;
    const set = this.#channels.get(channel);
    set?.delete(subscription);
    if (!set?.size) this.#channels.delete(channel);
    subscription._end(error);
    if (_asking) this.#calls.giveUp(_asking, error);
    this.#tidy(this.#calls.connection, subscription);
    this.#moved();
  }

  /**
   * Ask for all of them on a new connection, before anything else is sent there.
   */
  renew() {
    const calls = [];
    for (const subscription of this.#all()) {
      if (!subscription._asking) calls.push(this.#ask(subscription, null));
    }
    this.#calls.putBack(calls);
  }

  /**
   * There will be no connection any more.
   *
   * @param {unknown} error null if the application wanted it so
   */
  close(error) {
    for (const subscription of this.#all()) this.end(subscription, error);
  }

  /**
   * Whether messages of any of them come on this connection.
   *
   * @param {Connection} connection
   */
  need(connection) {
    return this.#all().some((subscription) => subscription._connection === connection);
  }

  /**
   * Hand a message to everyone whose pattern it fits.
   *
   * @param {Connection} connection
   * @param {any} message with a channel and an event
   * @param {number} size
   * @returns {boolean} false if it is the server's own, and meant nothing
   */
  deliver(connection, message, size) {
    const { channel, event, data } = message;
    const all = [...(this.#channels.get(channel) ?? [])].filter(
      (each) => each._connection === connection || each._left.has(connection),
    );
    if (event[0] !== "$") {
      this.#put(all.filter((each) => each._awaits(message)), message, size);
      return true;
    }
    const position = positionOf(data);
    if (event === "$join" || event === "$leave") {
      const watching = all.filter((each) => each.presence);
      this.#put(watching, message, size);
      return watching.length > 0;
    }
    // What is only left here is the new connection's.
    const set = all.filter((each) => !each._left.has(connection));
    if (event === "$lagged" && Number.isInteger(data?.dropped)) {
      for (const each of all) each.dropped += data.dropped;
    } else if (event === "$reset" && position) {
      for (const each of set) if (!each._over && !each._reset(position)) this.#tooSlow(each);
    } else if (event === "$unsubscribed") this.#takeBack(connection, channel, set, data);
    else return false;
    return all.length > 0;
  }

  /** @returns {Subscription[]} */
  #all() {
    return [...this.#channels.values()].flatMap((set) => [...set]);
  }

  /**
   * @param {Subscription} subscription
   * @param {number | null} timeout
   */
  #ask(subscription, timeout) {
    /** @type {Call} */
    const call = new Call({
      method: "subscribe",
      write: () => subscription._payload(),
      idempotent: true,
      once: !subscription._agreed,
      renewal: subscription._agreed,
      timeout,
      ended: (error, response, connection) => this.#answered(subscription, call, error, response, connection),
    });
    subscription._asking = call;
    return call;
  }

  /**
   * @param {Subscription} subscription
   * @param {Call} call
   * @param {unknown} error
   * @param {unknown} response
   * @param {Connection | null} connection
   */
  #answered(subscription, call, error, response, connection) {
    const isLast = subscription._asking === call;
    if (isLast) subscription._asking = null;
    if (error || !connection) {
      if (error === PATIENCE_OVER && !subscription._over) this.#calls.put(this.#ask(subscription, null));
      else if (isLast) this.end(subscription, error);
      return;
    }
    connection.patterns.add(keyOf(subscription));
    if (subscription._over) return this.#tidy(connection, subscription);
    try {
      const fits = subscription._begin(response, connection);
      subscription._resolve(subscription);
      if (!fits) this.#tooSlow(subscription);
    } catch (unexpected) {
      this.end(subscription, unexpected);
    }
    const current = this.#calls.connection;
    if (current && current !== connection && !subscription._over) this.#calls.put(this.#ask(subscription, null));
    this.#moved();
  }

  /**
   * Tell the server that nobody wants a pattern any more, if that is so and it believes otherwise.
   *
   * @param {Connection | null} connection
   * @param {Subscription} subscription one that wanted it
   */
  #tidy(connection, { channel, event }) {
    const key = keyOf({ channel, event });
    if (!connection || connection !== this.#calls.connection || !connection.patterns.has(key)) return;
    for (const each of this.#channels.get(channel) ?? []) if (each.event === event) return;
    connection.patterns.delete(key);
    this.#calls.put(
      new Call({
        method: "unsubscribe",
        write: () => JSON.stringify({ channel, event }),
        only: connection,
        ended() {}, // whatever it says, nothing can be done
      }),
    );
  }

  /**
   * @param {Subscription[]} subscriptions
   * @param {any} message
   * @param {number} size
   */
  #put(subscriptions, message, size) {
    for (const each of subscriptions) {
      if (!each._over && !each._take(message, size)) this.#tooSlow(each);
    }
  }

  /** @param {Subscription} subscription */
  #tooSlow(subscription) {
    this.end(subscription, new TooSlow(subscription.channel));
  }

  /**
   * Patterns are taken back: those of `events`, without it all.
   *
   * @param {Connection} connection
   * @param {string} channel
   * @param {Subscription[]} subscriptions
   * @param {any} data
   */
  #takeBack(connection, channel, subscriptions, data) {
    const { events, code, message } = data ?? {};
    /** @param {string} event */
    const named = (event) => !Array.isArray(events) || events.includes(event);
    const taken = subscriptions.filter(
      // Without presence it is not what was asked for, whatever its pattern.
      (each) => named(each.event) || (each.presence && (named("$join") || named("$leave"))),
    );
    for (const each of taken) if (named(each.event)) connection.patterns.delete(keyOf(each));
    for (const each of taken) {
      this.end(each, new CallFailed(code ?? CANCELLED, message ?? `the server took ${channel} back`));
    }
  }
}

/** @param {{ channel: string, event: string }} pattern */
const keyOf = ({ channel, event }) => JSON.stringify([channel, event]);
