/**
 * A client of an aio-openapi endpoint: calls, streams and subscriptions over a WebSocket that comes
 * back by itself.
 *
 *     const client = connect("wss://example.com/stream");
 *     const { sum } = await client.call("add", { a: 1, b: 2 });
 *     for await (const { event, data } of client.subscribe("host")) …
 */

import { Client as Connected } from "./client.js";

export { CallFailed, ConnectionClosed, PositionLost, RpcError, TooSlow, UnexpectedData } from "./errors.js";

/** @typedef {import("./address.js").Address} Address */
/** @typedef {import("./options.js").CallOptions} CallOptions */
/** @typedef {import("./client.js").Client} Client */
/** @typedef {import("./options.js").Options} Options */
/** @typedef {import("./options.js").Status} Status */
/** @typedef {import("./answers.js").Member} Member */
/** @typedef {import("./answers.js").Position} Position */
/** @typedef {import("./reconnecting.js").ClientState} ClientState */
/** @typedef {import("./serving.js").Handler} Handler */
/** @typedef {import("./stream.js").StreamOptions} StreamOptions */
/**
 * @template [T=any]
 * @typedef {import("./answers.js").Message<T>} Message
 */
/**
 * @template [T=any]
 * @typedef {import("./answers.js").History<T>} History
 */
/**
 * @template [T=any]
 * @typedef {import("./stream.js").Stream<T>} Stream
 */
/**
 * @template [T=any]
 * @typedef {import("./subscription.js").Subscription<T>} Subscription
 */
/**
 * @template [T=any]
 * @typedef {import("./subscription.js").SubscribeOptions<T>} SubscribeOptions
 */

/**
 * Connect to an endpoint. It returns at once, and the client comes back by itself until it is closed,
 * by the application or by the server.
 *
 * @param {Address | (() => Address | Promise<Address>)} url a function is called before each attempt
 * @param {Options} [options]
 * @returns {Client}
 */
export const connect = (url, options = {}) => new Connected(url, options);
