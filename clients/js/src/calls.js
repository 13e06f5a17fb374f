/**
 * All calls of a client: those that wait for a connection or for their turn, and what becomes of
 * those in flight.
 *
 * | a call           | waits                | in flight                                   |
 * |------------------|----------------------|---------------------------------------------|
 * | its turn comes   | is sent              |                                             |
 * | its answer comes |                      | is over; waits again where that says so     |
 * | connection ends  |                      | waits again if idempotent; otherwise fails  |
 * | is given up      | fails                | fails, and the server is told               |
 * | client is closed | fails                | fails                                       |
 */

import { CallFailed, ConnectionClosed, SHUTTING_DOWN, TOO_MANY_CALLS, UnexpectedData } from "./errors.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {import("./connection.js").Connection} Connection */
/** @typedef {import("./clock.js").Clock} Clock */

/** How long it is until somebody looks again whether bytes were sent: a browser does not tell. */
const REST = 50;

export class Calls {
  /** @type {Connection | null} where calls go; null: nowhere now */
  connection = null;

  /** @type {Call[]} */
  #queue = [];
  #options;
  /** @type {(() => void) | null} */
  #rest = null;

  /**
   * @param {object} options
   * @param {Clock} options.clock
   * @param {number} options.calls how many may be in flight
   * @param {number} options.waiting how many may wait
   * @param {number} options.queueBytes how many bytes may wait to be sent
   * @param {() => ConnectionClosed | null} options.refusal why nothing may wait now
   * @param {(connection: Connection, after: number) => void} options.leave this server shuts down
   */
  constructor(options) {
    this.#options = options;
  }

  /**
   * Send a call, when it is its turn.
   *
   * @param {Call} call
   */
  begin(call) {
    const { clock, waiting, refusal } = this.#options;
    const { timeout, signal } = call.options;
    const why = refusal();
    if (why || signal?.aborted) return call.finish(why ?? signal?.reason);
    if (timeout != null) {
      call.expires = clock.now() + timeout;
      call.undo.push(clock.after(timeout, () => this.giveUp(call, timeoutOf(call.method, timeout))));
    }
    if (signal) {
      const abort = () => this.giveUp(call, signal.reason);
      signal.addEventListener("abort", abort);
      call.undo.push(() => signal.removeEventListener("abort", abort));
    }
    this.put(call);
    if (this.#queue.length > waiting && this.#queue.at(-1) === call) {
      this.giveUp(call, tooMuch(`${waiting} calls wait already`));
    }
  }

  /**
   * Have calls wait, however many do.
   *
   * @param {Call} call
   */
  put(call) {
    this.#queue.push(call);
    this.flush();
  }

  /**
   * Have calls wait in front of all others.
   *
   * @param {Call[]} calls
   */
  putBack(calls) {
    for (const call of calls) call.connection = null;
    this.#queue.unshift(...calls);
  }

  /**
   * Nobody waits for a call any more.
   *
   * @param {Call} call
   * @param {unknown} error why
   */
  giveUp(call, error) {
    if (call.over) return;
    if (call.connection) call.connection.cancel(call.id);
    else this.#queue.splice(this.#queue.indexOf(call), 1);
    call.finish(error);
  }

  /** Send what can be sent. */
  flush() {
    const { connection } = this;
    const { calls, queueBytes, clock } = this.#options;
    if (!connection) return;
    this.#queue = this.#queue.filter((call) => {
      const { only, notification } = call.options;
      if (only && only !== connection) return false;
      if (!call.ready || connection.buffered >= queueBytes) return true;
      if (notification) {
        connection.notify(call);
        call.finish(null);
      } else if (connection.pending.size < calls) this.#send(call, connection);
      else return true;
      return false;
    });
    if (this.#queue.length && connection.buffered >= queueBytes) {
      this.#rest ??= clock.after(REST, () => {
        this.#rest = null;
        this.flush();
      });
    }
  }

  /**
   * The answer to a call came.
   *
   * @param {Call} call
   * @param {Connection} connection
   * @param {Error | null} error
   * @param {unknown} response
   */
  answered(call, connection, error, response) {
    const { clock, leave } = this.#options;
    if (error instanceof CallFailed && !call.over) {
      const { code, retryAfter } = error;
      if (code === SHUTTING_DOWN) {
        call.sent = false;
        this.putBack([call]);
        return leave(connection, retryAfter ?? 0);
      }
      if (call.options.idempotent && retryAfter != null && clock.now() + retryAfter < call.expires) {
        call.ready = false;
        this.putBack([call]);
        call.undo.push(
          clock.after(retryAfter, () => {
            call.ready = true;
            this.flush();
          }),
        );
        return;
      }
    }
    call.finish(error, response, connection);
  }

  /**
   * An item of a call came.
   *
   * @param {Call} call
   * @param {unknown} item
   * @param {number} size
   */
  item(call, item, size) {
    if (call.options.item) call.options.item(item, size);
    else this.giveUp(call, new UnexpectedData(`a stream of items: use client.stream("${call.method}")`));
  }

  /**
   * A connection ended.
   *
   * @param {Connection} connection
   * @param {ConnectionClosed} error
   */
  lost(connection, error) {
    const calls = connection.pending.drain().filter((call) => !call.over);
    this.putBack(calls.filter((call) => call.options.idempotent));
    for (const call of calls) if (!call.options.idempotent) call.finish(closedBy(error, true));
    this.flush();
  }

  /**
   * There will be no connection any more.
   *
   * @param {ConnectionClosed} error
   */
  close(error) {
    this.#rest?.();
    this.connection = null;
    for (const call of this.#queue.splice(0)) call.finish(closedBy(error, call.sent));
  }

  /**
   * @param {Call} call
   * @param {Connection} connection
   */
  #send(call, connection) {
    const left = call.options.itemTimeout ?? call.expires - this.#options.clock.now();
    call.sent = true;
    call.connection = connection;
    connection.ask(call, left < Infinity ? Math.max(1, Math.ceil(left)) : undefined);
  }
}

/**
 * @param {ConnectionClosed} error
 * @param {boolean} mayHaveRun
 */
const closedBy = ({ code, reason, cause }, mayHaveRun) => new ConnectionClosed(code, reason, mayHaveRun, cause);

/** @param {string} text */
export const tooMuch = (text) => new CallFailed(TOO_MANY_CALLS, text);

/**
 * @param {string} what
 * @param {number} timeout
 */
export const timeoutOf = (what, timeout) =>
  new DOMException(`${what} was not answered within ${timeout} ms`, "TimeoutError");
