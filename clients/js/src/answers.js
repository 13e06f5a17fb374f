/** Positions, kept messages and members, as a server says them. What it says more is passed over. */

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

/**
 * Who is on a channel.
 *
 * @typedef {object} Member
 * @property {string} id
 * @property {string | number} [user]
 * @property {any} [info]
 * @property {number} [connections] not in `$join` and `$leave`
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

/**
 * @param {string} channel
 * @param {any} response
 * @returns {History}
 */
export function historyOf(channel, response) {
  const position = placeOf(response);
  const messages = keptOf(response).map(({ event, data, offset }) => ({
    channel,
    event,
    data,
    position: { offset, epoch: position.epoch },
  }));
  return { messages, position };
}

/**
 * @param {any} response
 * @returns {Member[]}
 */
export function membersOf(response) {
  if (!Array.isArray(response?.members)) throw new UnexpectedData("no members");
  return response.members;
}
