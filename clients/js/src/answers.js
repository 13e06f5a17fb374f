/** Positions and kept messages, as a server says them. What it says more is passed over. */

import { UnexpectedData } from "./errors.js";

/**
 * A place in the stream of a channel that keeps history: right behind a message, or with 0 before the
 * first.
 *
 * @typedef {object} Position
 * @property {number} offset
 * @property {string} epoch
 */

/**
 * @template [T=any]
 * @typedef {object} Message
 * @property {string} channel
 * @property {string} event
 * @property {T} data
 * @property {Position | null} position where it is, on a channel that keeps history
 */

/**
 * @template [T=any]
 * @typedef {object} History
 * @property {Message<T>[]} messages
 * @property {Position} position where the channel is
 */

/** @typedef {{ event: string, data: unknown, offset: number }} Kept a message as the server keeps it */

/**
 * @param {any} said
 * @returns {Position | null}
 */
export function positionOf(said) {
  const { offset, epoch } = said ?? {};
  return Number.isInteger(offset) && typeof epoch === "string" ? { offset, epoch } : null;
}

/**
 * @param {any} response
 * @returns {Kept[]}
 */
export function keptOf(response) {
  const messages = response?.messages;
  if (!Array.isArray(messages)) throw new UnexpectedData("no messages");
  return messages;
}

/**
 * @param {any} response
 * @returns {Position}
 */
export function placeOf(response) {
  const position = positionOf(response);
  if (!position) throw new UnexpectedData("no position");
  return position;
}
