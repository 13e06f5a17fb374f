// A subscription of the client, and what its reader must get, by what has come.

import assert from "node:assert/strict";
import { CallFailed, PositionLost } from "../../src/index.js";
import { short } from "./placeholders.js";

/** @typedef {Record<string, any>} Frame */

/**
 * A pattern as a regular expression: the test's own reading of `wire/README.md`.
 *
 * @param {string} pattern
 */
function expression(pattern) {
  const source = pattern.replace(
    /\*|\?|\[(!?)([^\]]+)\]|[^]/gu,
    (token, negated, members) => {
      if (token === "*") return "[^]*";
      if (token === "?") return "[^]";
      if (members === undefined) return token.replace(/[\\^$.|+()[\]{}/-]/u, "\\$&");
      return `[${negated ? "^" : ""}${members.replace(/[\\^[\]]/gu, "\\$&")}]`;
    },
  );
  return new RegExp(`^${source}$`, "u");
}

/** One subscription. Everything that it gives is read at once. */
export class Subscriber {
  /**
   * @param {import("../../src/index.js").Subscription} subscription
   * @param {Frame} payload what it was asked for
   */
  constructor(subscription, payload) {
    this.subscription = subscription;
    this.channel = payload.channel;
    this.event = payload.event || "*";
    this.pattern = expression(this.event);
    this.presence = payload.presence === true;
    this.asked = payload.recover ?? null;
    /** Right behind the last message that its reader gets. @type {Frame | null} */
    this.position = this.asked;
    /** Messages behind this one are for it. */
    this.begins = 0;
    /** Whether the server has agreed, and taken nothing back. */
    this.isOpen = false;
    this.dropped = 0;
    /** @type {Frame[]} */
    this.expected = [];
    /** @type {Frame[]} */
    this.got = [];
    this.over = this.read();
  }

  async read() {
    for (;;) {
      try {
        for await (const { channel, event, data, position } of this.subscription) {
          const offset = position ? { offset: position.offset } : {};
          this.got.push({ channel, event, data, ...offset });
        }
        return;
      } catch (error) {
        if (error instanceof PositionLost) {
          this.got.push({ lost: { offset: error.offset, epoch: error.epoch } });
        } else {
          this.got.push({ ended: error });
          return;
        }
      }
    }
  }

  /**
   * The server has agreed.
   *
   * @param {Frame} response
   */
  agreed({ offset, epoch, recovered, messages = [] }) {
    const { subscription } = this;
    this.isOpen = true;
    this.begins = offset ?? 0;
    this.position = recovered ? this.asked : offset === undefined ? null : { offset, epoch };
    if (this.asked !== null) assert.equal(subscription.recovered, recovered);
    for (const message of messages) this.expect(message);
  }

  /**
   * The server has not agreed, or the application did not wait for it.
   *
   * @param {unknown} error what the application was told
   */
  refused(error) {
    this.expected.push({ endedBy: error });
  }

  /**
   * Its reader gets a message.
   *
   * @param {Frame} message
   */
  expect(message) {
    this.expected.push(message);
    const { offset } = message;
    if (offset !== undefined && this.position) this.position = { ...this.position, offset };
  }

  /**
   * Something has come on a channel.
   *
   * @param {Frame} frame
   */
  came({ channel, event, data, offset }) {
    if (!this.isOpen || channel !== this.channel) return;
    switch (event) {
      case "$join":
      case "$leave":
        if (this.presence) this.expected.push({ channel, event, data });
        break;
      case "$lagged":
        this.dropped += data.dropped;
        break;
      case "$reset":
        this.begins = data.offset;
        this.position = data;
        this.expected.push({ lost: data });
        break;
      case "$unsubscribed":
        if (data.events.includes(this.event) || (this.presence && data.events.includes("$join"))) {
          this.isOpen = false;
          this.expected.push({ ended: data });
        }
        break;
      case "$subscribed":
        break;
      default:
        if (!this.pattern.test(event) || (offset !== undefined && offset <= this.begins)) break;
        this.expect({ channel, event, data, ...(offset !== undefined && { offset }) });
    }
  }

  /** Its reader has left: whatever comes is not for it. */
  leave() {
    this.isOpen = false;
    this.subscription.close();
  }

  /** See that its reader got all that it must, in order, and no more. */
  check() {
    assert.equal(this.subscription.dropped, this.dropped);
    assert.deepEqual(this.subscription.position ?? null, this.position);
    const got = [...this.got];
    for (const [index, expected] of this.expected.entries()) {
      // what waited to be read when messages were lost is forgotten
      const forgotten = this.expected.slice(index).some((each) => "lost" in each);
      const found = got[0];
      if ("ended" in expected) {
        assert.ok(found?.ended instanceof CallFailed, `instead of an end, ${short(found)}`);
        assert.equal(found.ended.code, expected.ended.code);
        assert.equal(found.ended.message, expected.ended.message);
      } else if ("endedBy" in expected) {
        assert.equal(found?.ended, expected.endedBy);
      } else if (forgotten && !("lost" in expected) && found && "lost" in found) {
        continue;
      } else {
        assert.deepEqual(found, expected);
      }
      got.shift();
    }
    assert.deepEqual(got, [], "more came to the reader than to the connection");
  }
}
