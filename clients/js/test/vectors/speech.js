// Which frames of a conversation a client can say, and what is the same said otherwise. The rest is
// said past it: broken frames, ids that are in flight, payloads that are no objects.

import { isObject } from "./placeholders.js";

/** @typedef {Record<string, any>} Frame */

const METHODS_OF_STREAMS = new Set(["count", "drip", "falter", "flood"]);

/**
 * How a client says it: by which of its methods.
 *
 * @param {unknown} frame
 * @returns {"cancel" | "answer" | "notify" | "stream" | "subscribe" | "publish" | "history"
 *   | "presence" | "call" | null} null if it cannot
 */
export function wayOf(frame) {
  if (!isObject(frame)) return null;
  if (frame.cancel === true && only(frame, ["id", "cancel"])) return "cancel";
  if ("response" in frame && only(frame, ["id", "method", "response"])) return "answer";
  if ("error" in frame && only(frame, ["id", "method", "error"])) {
    return isObject(frame.error) &&
      Number.isInteger(frame.error.code) &&
      typeof frame.error.message === "string"
      ? "answer"
      : null;
  }
  if (typeof frame.method !== "string") return null;
  if (!isObject(frame.payload ?? {})) return null;
  if (frame.id === null) return only(frame, ["id", "method", "payload"]) ? "notify" : null;
  if (!only(frame, ["id", "method", "payload", "timeout"])) return null;
  if (!isId(frame.id) || !isTimeout(frame.timeout ?? null)) return null;
  return METHODS_OF_STREAMS.has(frame.method) ? "stream" : wayOfCall(frame);
}

/**
 * The method of the client for a call: for what none of them can say there is `call`.
 *
 * @param {Frame} frame
 */
function wayOfCall({ method, payload }) {
  const { channel, event, recover, presence, key, since, limit, reverse } = payload ?? {};
  if (typeof channel !== "string") return "call";
  switch (method) {
    case "subscribe":
      return only(payload, ["channel", "event", "recover", "presence"]) &&
        isText(event) &&
        isPosition(recover) &&
        isBoolean(presence)
        ? "subscribe"
        : "call";
    case "publish":
      return only(payload, ["channel", "event", "data", "key"]) &&
        "data" in payload &&
        isText(event) &&
        isText(key)
        ? "publish"
        : "call";
    case "history":
      return only(payload, ["channel", "since", "limit", "reverse"]) &&
        isPosition(since) &&
        isBoolean(reverse) &&
        (limit === null || limit === undefined || Number.isInteger(limit))
        ? "history"
        : "call";
    case "presence":
      return only(payload, ["channel"]) ? "presence" : "call";
    default:
      return "call";
  }
}

/**
 * What a frame means, without its id: what is left out is filled in, and null is left out where that
 * is the same. A client may say how long it waits where a conversation does not, and the other way
 * round with the method of an answer.
 *
 * @param {Frame} frame
 * @param {Frame} [other] what it is compared with
 * @returns {Frame}
 */
export function meaning({ id, ...frame }, other = frame) {
  if ("response" in frame || "error" in frame) {
    const { method, ...answer } = frame;
    return answer;
  }
  if (!("method" in frame)) return frame;
  const { timeout, ...call } = frame;
  const payload = meantBy(frame.method, frame.payload ?? {});
  const waits = (timeout ?? null) !== null && (other.timeout ?? null) !== null;
  return { ...call, payload, ...(waits && { timeout }) };
}

/**
 * @param {string} method
 * @param {Frame} payload
 */
function meantBy(method, payload) {
  const said = Object.fromEntries(
    Object.entries(payload).filter(([key, value]) => value !== null || key === "data"),
  );
  switch (method) {
    case "subscribe": {
      const { presence, ...rest } = said;
      return { ...rest, event: said.event || "*", ...(presence && { presence }) };
    }
    case "publish":
      return { ...said, event: said.event ?? "" };
    case "history": {
      const { reverse, ...rest } = said;
      return { ...rest, ...(reverse && { reverse }) };
    }
    default:
      return payload;
  }
}

/** @param {unknown} id */
export function isId(id) {
  return typeof id === "string"
    ? id.length <= 64
    : Number.isSafeInteger(id) && /** @type {number} */ (id) >= 0;
}

/** @param {unknown} timeout */
function isTimeout(timeout) {
  return timeout === null || (Number.isSafeInteger(timeout) && Number(timeout) >= 1);
}

/** @param {unknown} value */
function isText(value) {
  return value === null || value === undefined || typeof value === "string";
}

/** @param {unknown} value */
function isBoolean(value) {
  return value === null || value === undefined || typeof value === "boolean";
}

/** @param {unknown} value */
function isPosition(value) {
  if (value === null || value === undefined) return true;
  return (
    isObject(value) &&
    only(value, ["offset", "epoch"]) &&
    Number.isInteger(value.offset) &&
    typeof value.epoch === "string"
  );
}

/**
 * @param {Frame} value
 * @param {string[]} keys
 */
function only(value, keys) {
  return Object.keys(value).every((key) => keys.includes(key));
}
