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

import { whenAborted } from "./call.js";
import { CallFailed, ConnectionClosed, SHUTTING_DOWN, TOO_MANY_CALLS, UnexpectedData } from "./errors.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {import("./connection.js").Connection} Connection */
/** @typedef {import("./clock.js").Clock} Clock */

/** How long it is until somebody looks again whether bytes were sent: a browser does not tell. */
const REST = 50;

/** How long a server may take to agree to what it agreed to before; then it is asked again. */
const PATIENCE = 30_000;

/** Why a renewal is given up then. */
export const PATIENCE_OVER = {};

export class Calls {
  /** @type {Connection | null} where calls go; null: nowhere now */
  connection = null;

  /** @type {Call[]} */
  #queue = [];
  /** @type {(() => void) | null} */
  #rest = null;
  #clock;
  #calls;
  #waiting;
  #queueBytes;
  #refusal;

  /**
   * @param {object} options
   * @param {Clock} options.clock
   * @param {number} options.calls how many may be in flight
   * @param {number} options.waiting how many may wait
   * @param {number} options.queueBytes how many bytes may wait to be sent
   * @param {() => ConnectionClosed | null} options.refusal why nothing may wait now
   */
  constructor({ clock, calls, waiting, queueBytes, refusal }) {
    this.#clock = clock;
    this.#calls = calls;
    this.#waiting = waiting;
    this.#queueBytes = queueBytes;
    this.#refusal = refusal;
  }

  /** Whether more bytes wait to be sent than may. */
  get #full() {
    return this.connection !== null && this.connection.buffered >= this.#queueBytes;
  }

  /**
   * Send a call, when it is its turn.
   *
   * @param {Call} call
   */
  begin(call) {
    const { method, timeout, signal, notification } = call.options;
    const why = this.#refusal();
    if (why || signal?.aborted) return call.finish(why ?? signal?.reason);
    if (notification && this.#full) {
      return call.finish(tooMuch(`${this.#queueBytes} bytes wait to be sent`, "queueBytes", this.#queueBytes));
    }
    if (timeout != null) {
      call.began = this.#clock.now();
      call.undo.push(this.#clock.after(timeout, () => this.giveUp(call, timeoutOf(method, timeout))));
    }
    call.undo.push(whenAborted(signal, (reason) => this.giveUp(call, reason)));
    this.put(call);
    const most = this.#waiting;
    if (this.#queue.length > most && this.#queue.at(-1) === call) {
      this.giveUp(call, tooMuch(`${most} calls wait to be sent, wait for an answer before the next`, "waiting", most));
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
    for (const call of calls) {
      call.connection = null;
      call.stop();
    }
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
    else this.#queue = this.#queue.filter((each) => each !== call);
    call.finish(error);
  }

  /** Send what can be sent. */
  flush() {
    const { connection } = this;
    if (!connection?.ready) return;
    this.#queue = this.#queue.filter((call) => {
      const { only, notification } = call.options;
      if (only && only !== connection) return false;
      if (!call.ready || this.#full) return true;
      if (notification) {
        connection.notify(call);
        call.finish(null);
      } else if (connection.pending.size < this.#calls) this.#send(call, connection);
      else return true;
      return false;
    });
    if (this.#queue.length && this.#full) {
      this.#rest ??= this.#clock.after(REST, () => {
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
    const { idempotent, once } = call.options;
    if (error instanceof CallFailed && !call.over) {
      const { code, retryAfter } = error;
      // A server that is about to close, and has run nothing.
      const isRefused = code === SHUTTING_DOWN && connection !== this.connection;
      if (isRefused || (idempotent && !once && retryAfter != null)) {
        this.putBack([call]);
        if (isRefused) call.sent = false;
        else this.#pause(call, (retryAfter ?? 0) + call.pause(this.#clock.random));
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
    else this.giveUp(call, new UnexpectedData(`a stream of items: use client.stream("${call.options.method}")`));
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
    if (this.#refusal()) this.#fail(error);
    this.flush();
  }

  /**
   * There will be no connection any more.
   *
   * @param {ConnectionClosed} error
   */
  close(error) {
    this.#rest?.();
    this.#fail(error);
  }

  /**
   * Nothing may wait, except for what makes a new connection what the old one was.
   *
   * @param {ConnectionClosed} error
   */
  #fail(error) {
    const calls = this.#queue;
    this.#queue = calls.filter((call) => call.options.renewal);
    for (const call of calls) if (!call.options.renewal) call.finish(closedBy(error, call.sent));
  }

  /**
   * Have a call wait before it is sent again.
   *
   * @param {Call} call
   * @param {number} ms
   */
  #pause(call, ms) {
    call.ready = false;
    call.stop = this.#clock.after(ms, () => {
      call.ready = true;
      this.flush();
    });
  }

  /**
   * @param {Call} call
   * @param {Connection} connection
   */
  #send(call, connection) {
    const { timeout, itemTimeout, renewal } = call.options;
    const left = itemTimeout ?? (timeout && timeout - (this.#clock.now() - call.began));
    call.sent = true;
    call.connection = connection;
    connection.ask(call, left == null ? left : Math.max(1, Math.ceil(left)));
    if (renewal) call.stop = this.#clock.after(PATIENCE, () => this.giveUp(call, PATIENCE_OVER));
  }
}

/**
 * @param {ConnectionClosed} error
 * @param {boolean} mayHaveRun
 */
const closedBy = ({ code, reason, cause }, mayHaveRun) => new ConnectionClosed(code, reason, mayHaveRun, cause);

/**
 * @param {string} text
 * @param {string} limit
 * @param {number} max
 */
export const tooMuch = (text, limit, max) => new CallFailed(TOO_MANY_CALLS, text, { data: { limit, max } });

/**
 * @param {string} what
 * @param {number} timeout
 */
export const timeoutOf = (what, timeout) =>
  new DOMException(`${what} was not answered within ${timeout} ms`, "TimeoutError");
