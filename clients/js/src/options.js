/** What an application may say to the client, and what that tells it of itself: types, and no code. */

/**
 * @typedef {object} Status
 * @property {import("./reconnecting.js").ClientState} state
 * @property {import("./errors.js").ConnectionClosed} [reason] why the last connection, or attempt, ended; not while all is well
 * @property {number} [retryIn] milliseconds until the next attempt
 */

/**
 * @typedef {object} Options
 * @property {import("./connection.js").SocketConstructor} [WebSocket] by default the global one
 * @property {Record<string, import("./serving.js").Handler>} [serve] what the server may call, by method
 * @property {number} [first] milliseconds of which a random part is waited before the second attempt; 500
 * @property {number} [cap] what that grows to; 20,000
 * @property {number} [stable] a connection that held so long has it begin anew; 10,000
 * @property {"wait" | "fail"} [offline] what is said without a connection waits, or fails
 * @property {number} [openTimeout] milliseconds that an attempt may take; 10,000
 * @property {number | null} [heartbeat] milliseconds without a message until the server is asked; 25,000; null, or 0: never
 * @property {number} [calls] how many may be in flight; 64
 * @property {number} [waiting] how many may wait for a connection, or for their turn; 1,000
 * @property {number} [queueBytes] how many bytes may wait to be sent; 1 MiB
 * @property {(status: Status) => unknown} [onstate] is called at each change
 * @property {import("./clock.js").Clock} [clock] for tests
 */

/**
 * @typedef {object} CallOptions
 * @property {number | null} [timeout] milliseconds, 30,000 by default; null waits for ever
 * @property {AbortSignal | undefined} [signal] cancels it
 * @property {boolean} [idempotent] whether it does no harm that it runs twice
 */

export {};
