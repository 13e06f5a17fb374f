/** What the server calls: functions of the application, by their methods. */

import { CANCELLED, INTERNAL_ERROR, METHOD_NOT_FOUND, RpcError, TOO_MANY_CALLS } from "./errors.js";
import { complain } from "./report.js";

/**
 * What the server may call. `signal` is aborted when it waits no longer for the answer. An
 * `RpcError` that it throws is what the server gets.
 *
 * @typedef {(payload: any, context: { signal: AbortSignal }) => unknown} Handler
 */

/** How many calls of the server may run at a time. */
const MOST = 64;

/** What a client serves, on all of its connections. */
export class Serving {
  /** @type {Map<string, Handler>} */
  handlers = new Map();
  running = 0;

  /**
   * Run a handler.
   *
   * @param {string} method
   * @param {unknown} payload
   * @param {AbortSignal} signal
   */
  async run(method, payload, signal) {
    const handler = this.handlers.get(method);
    if (!handler) {
      const errors = { method: `${method} method not available` };
      throw new RpcError(METHOD_NOT_FOUND, "Invalid RPC parameters", { errors });
    }
    if (this.running >= MOST) {
      const data = { limit: "calls", max: MOST };
      throw new RpcError(TOO_MANY_CALLS, `${MOST} calls are in flight, wait for an answer before the next`, { data });
    }
    this.running++;
    try {
      return await handler(payload ?? {}, { signal });
    } finally {
      this.running--;
    }
  }
}

/** The calls of the server on one connection, until each of them is answered. */
export class Served {
  /** @type {Map<unknown, AbortController>} */
  #calls = new Map();
  #serving;
  #send;

  /**
   * @param {Serving} serving
   * @param {(text: string) => void} send
   */
  constructor(serving, send) {
    this.#serving = serving;
    this.#send = send;
  }

  get size() {
    return this.#calls.size;
  }

  /**
   * @param {string | null} id null for a notification
   * @param {string} method
   * @param {unknown} payload
   * @param {() => void} freed it is over
   * @returns {boolean} false if a call with this id is running
   */
  take(id, method, payload, freed) {
    const key = id ?? {};
    if (this.#calls.has(key)) return false;
    const controller = new AbortController();
    this.#calls.set(key, controller);
    /** @param {() => object} answer */
    const end = (answer) => {
      // Not if it was cancelled, or its connection ended: then nobody waits for it.
      if (this.#calls.get(key) !== controller) return;
      this.#answer(id, answer());
      this.#calls.delete(key);
      freed();
    };
    this.#serving.run(method, payload, controller.signal).then(
      (response) => end(() => ({ response: response ?? null })),
      (error) => end(() => ({ error: errorOf(error) })),
    );
    return true;
  }

  /**
   * The server waits no longer for an answer.
   *
   * @param {unknown} id
   */
  cancel(id) {
    const controller = this.#calls.get(id);
    if (!controller) return;
    this.#calls.delete(id);
    this.#answer(id, { error: { code: CANCELLED, message: "Cancelled" } });
    controller.abort();
  }

  /** The connection ended. */
  end() {
    const controllers = [...this.#calls.values()];
    this.#calls.clear();
    for (const controller of controllers) controller.abort();
  }

  /**
   * @param {unknown} id
   * @param {object} answer
   */
  #answer(id, answer) {
    if (id === null) return;
    let text;
    try {
      text = JSON.stringify({ id, ...answer });
    } catch {
      text = JSON.stringify({ id, error: { code: INTERNAL_ERROR, message: "JSON object expected" } });
    }
    this.#send(text);
  }
}

/** @param {unknown} error */
function errorOf(error) {
  if (error instanceof RpcError) {
    const { code, message, data, errors, retryAfter } = error;
    return { code, message, data, errors, retry_after: retryAfter };
  }
  complain(error);
  return { code: INTERNAL_ERROR, message: "Internal error" };
}
