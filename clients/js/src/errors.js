/**
 * Every error of the client, as the application gets it; and which ends of a connection are final.
 *
 * Those that the server answered with are `CallFailed`, those that a handler of the application
 * shall have answered are `RpcError`: they are no relatives on purpose, so that what went wrong with
 * one call does not become, unseen, the answer to another.
 */

/** The codes of the wire that the client uses itself. */
export const METHOD_NOT_FOUND = -32601;
export const INTERNAL_ERROR = -32603;
export const TOO_MANY_CALLS = -32004;
export const CANCELLED = -32006;
export const SHUTTING_DOWN = -32009;

export const NORMAL = 1000;
export const ABNORMAL = 1006;
export const NO_PONG = 4000;

/**
 * Whether a client may come back after its connection was closed with this code.
 *
 * @param {number} code
 */
export const mayReconnect = (code) =>
  !((code >= 4500 && code <= 4999) || code === NORMAL || code === 1002 || code === 1003);

/**
 * What an error says besides its code and its message.
 *
 * @typedef {object} ErrorDetails
 * @property {unknown} [data] anything that has a JSON form
 * @property {Record<string, string>} [errors] every faulty field, by its path: `items[1].price`
 * @property {number} [retryAfter] milliseconds
 */

class CodedError extends Error {
  /**
   * @param {number} code an integer: the application's own, or one of the wire's
   * @param {string} message
   * @param {ErrorDetails} [details]
   */
  constructor(code, message, { data, errors, retryAfter } = {}) {
    super(message);
    /** @readonly */
    this.code = code;
    /** @readonly */
    this.data = data;
    /** @readonly */
    this.errors = errors;
    /** @readonly */
    this.retryAfter = retryAfter;
  }
}

/** The server answered a call with an error. */
export class CallFailed extends CodedError {
  name = "CallFailed";
}

/** Thrown by a handler that the server called: the error that the server shall get. */
export class RpcError extends CodedError {
  name = "RpcError";
}

/** The connection ended, or there is none any more. */
export class ConnectionClosed extends Error {
  name = "ConnectionClosed";

  /**
   * @param {number} code that of the closing frame; 1006 where there was none
   * @param {string} [reason]
   * @param {boolean} [mayHaveRun] whether the call may have been run by the server
   * @param {unknown} [cause]
   */
  constructor(code, reason = "", mayHaveRun = false, cause = undefined) {
    super(`the connection is closed (${code}${reason && `, ${reason}`})`);
    if (cause) this.cause = cause;
    /** @readonly */
    this.code = code;
    /** @readonly */
    this.reason = reason;
    /** @readonly */
    this.mayHaveRun = mayHaveRun;
  }
}

/**
 * Messages of a channel are lost to a subscription, and nobody knows which: load anew what they
 * would have changed. What is published behind the position comes as before.
 */
export class PositionLost extends Error {
  name = "PositionLost";

  /**
   * @param {string} channel
   * @param {number} offset
   * @param {string} epoch
   */
  constructor(channel, offset, epoch) {
    super(`messages of ${channel} are lost: load its state anew`);
    /** @readonly */
    this.channel = channel;
    /** @readonly */
    this.offset = offset;
    /** @readonly */
    this.epoch = epoch;
  }
}

/** More waited for the reader of a subscription, or of a stream, than may; it has ended. */
export class TooSlow extends Error {
  name = "TooSlow";

  /** @param {string} what is read */
  constructor(what) {
    super(`too much of ${what} waited to be read: read faster, or raise queueBytes`);
  }
}

/** What the server answered is of another kind than what was asked for. */
export class UnexpectedData extends Error {
  name = "UnexpectedData";

  /** @param {string} what */
  constructor(what) {
    super(`the server answered with ${what}`);
  }
}
