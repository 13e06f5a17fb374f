/** What the server calls: functions of the application, by their methods. */

import { HALF } from "./call.js";
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
    const handler = this.#serving.handlers.get(method);
    if (!handler) {
      const errors = { method: `${method} method not available` };
      this.#answer(id, { error: { code: METHOD_NOT_FOUND, message: "Invalid RPC parameters", errors } });
    } else if (this.#serving.running >= MOST) {
      const message = `${MOST} calls are in flight, wait for an answer before the next`;
      this.#answer(id, { error: { code: TOO_MANY_CALLS, message, data: { limit: "calls", max: MOST } } });
    } else {
      const controller = new AbortController();
      this.#calls.set(key, controller);
      this.#run(handler, payload, controller.signal).then((answer) => {
        // Not if it was cancelled, or its connection ended: then nobody waits for it.
        if (this.#calls.get(key) !== controller) return;
        this.#answer(id, answer);
        this.#calls.delete(key);
        freed();
      });
    }
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
    for (const [id, controller] of this.#calls) {
      this.#calls.delete(id);
      controller.abort();
    }
  }

  /**
   * @param {Handler} handler
   * @param {unknown} payload
   * @param {AbortSignal} signal
   * @returns {Promise<object>} the answer
   */
  async #run(handler, payload, signal) {
    this.#serving.running++;
    try {
      return { response: (await handler(payload ?? {}, { signal })) ?? null };
    } catch (error) {
      if (error instanceof RpcError) {
        const { code, message, data, errors, retryAfter } = error;
        return { error: { code, message, data, errors, retry_after: retryAfter } };
      }
      if (!signal.aborted) complain(error);
      return { error: { code: INTERNAL_ERROR, message: "Internal error" } };
    } finally {
      this.#serving.running--;
    }
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
      if (HALF.test(text)) throw text;
    } catch {
      text = JSON.stringify({ id, error: { code: INTERNAL_ERROR, message: "JSON object expected" } });
    }
    this.#send(text);
  }
}
