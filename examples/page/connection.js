/** The connection in view: its state, why, when it comes back, and what became of the messages. */

import { element, find, say } from "./elements.js";
import { count, counted, decimal, timeOfDay } from "./units.js";

/** @typedef {import("/openapi.js").Client} Client */
/** @typedef {import("/openapi.js").Status} Status */

/** How many things that happened are shown. */
const EVENTS = 50;

/** Milliseconds between two looks at the countdown. */
const TICK = 100;

/** What is said of a close code. */
const CODES = /** @type {Record<number, string>} */ ({
  1001: "The server has gone away.",
  1006: "It was cut.",
  1012: "The server restarts.",
  1013: "The server has too much to do.",
  4000: "There was no sign of life.",
});

/** The close code of an attempt that failed. A browser does not say why. */
const UNREACHABLE = 1006;

const HAVE = "The page shows what it has. What is published meanwhile will be asked for.";

/** @param {any} reason why a connection ended @returns {string} a sentence */
function sentence(reason) {
  if (!reason) return "";
  const known = CODES[reason.code];
  if (known && !(reason.code >= 4000 && reason.reason)) return known;
  return reason.reason ? `The server says: ${reason.reason} (${reason.code}).` : `The connection is closed (${reason.code}).`;
}

/** @param {any} reason why an attempt failed @returns {string} a sentence */
const attempted = (reason) => (reason?.code === UNREACHABLE ? "The server cannot be reached." : sentence(reason));

/** What the page shows of its client. */
export class ConnectionView {
  #line;
  /** @type {Client | null} */
  #client = null;
  #view = find("#connection");
  #state = find("#state");
  #reason = find("#reason");
  #countdown = find("#countdown");
  #until = find("#until");
  #verdict = find("#verdict");
  #events = find("#events ol");
  #hurry = find("#hurry");
  #cut = find("#cut");
  /** @type {string} what the last event said */
  #said = "";
  #wasOpen = false;
  #connections = 0;
  /** Attempts since there was a connection. */
  #attempts = 0;
  /** @type {{ at: number, in: number } | null} when the next one is due, by `performance.now()` */
  #due = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticking;
  /** @type {Map<string, number | null>} how many messages came late, by channel; null: some are lost */
  #results = new Map();
  #channels;
  #hasLost = false;

  /**
   * @param {import("./line.js").Line} line
   * @param {string[]} channels those that keep history
   */
  constructor(line, channels) {
    this.#line = line;
    this.#channels = channels;
    this.#hurry.addEventListener("click", () => {
      if (this.#client?.state === "closed") location.reload();
      else this.#client?.hurry();
    });
    this.#cut.addEventListener("click", () => this.#toggle());
  }

  /**
   * What the client says, whenever something changes.
   *
   * @param {Client} client
   * @param {Status} status
   */
  changed(client, status) {
    this.#client = client;
    const { state, reason, retryIn } = status;
    this.#view.dataset.state = state;
    this.#due = retryIn === undefined ? null : { at: performance.now() + retryIn, in: retryIn };
    if (state === "open") this.#opened(retryIn !== undefined);
    else if (state === "connecting") this.#connecting(reason);
    else if (state === "waiting") this.#waiting(reason);
    else this.#closed(reason);
    this.#hurry.disabled = state !== "waiting" && state !== "closed";
    this.#cut.disabled = state === "closed";
    say(this.#hurry, state === "closed" ? "Reload" : "Try now");
    say(this.#cut, this.#line.isCut ? "Mend the line" : "Cut the line");
    clearInterval(this.#ticking);
    if (this.#due) this.#ticking = setInterval(() => this.#tick(), TICK);
    this.#tick();
  }

  /**
   * The server has agreed to a channel, and nothing is lost.
   *
   * @param {string} channel
   * @param {number} missed so many messages came late
   */
  recovered(channel, missed) {
    this.#judge(channel, missed);
  }

  /**
   * Messages of a channel are lost.
   *
   * @param {string} channel
   */
  lost(channel) {
    this.#judge(channel, null);
  }

  /**
   * A channel comes no more. That the connection is closed for good is said already.
   *
   * @param {string} channel
   * @param {unknown} error
   */
  refused(channel, error) {
    if (this.#client?.closed) return;
    this.#happened(`Nothing comes from ${channel} any more: ${error instanceof Error ? error.message : error}.`);
  }

  /** @param {import("./kept.js").KeptChannel} host whose messages are counted */
  counted(host) {
    const { received, skipped, first, last } = host;
    say(find("#received"), count(received));
    say(find("#numbers"), first === null || last === null ? "–" : `${first}–${last.offset}`);
    say(find("#missing"), this.#hasLost ? "some" : count(skipped));
  }

  /** @param {boolean} leaving whether the server is about to close it */
  #opened(leaving) {
    say(this.#state, "Connected");
    const isNew = this.#line.connections !== this.#connections;
    if (leaving) say(this.#reason, "The server is about to restart; the page moves.");
    else if (isNew) say(this.#reason, `Since ${timeOfDay(Date.now())}.`);
    if (leaving) this.#happened("The server said that it is about to restart.");
    if (!isNew) return;
    const isFirst = !this.#connections;
    this.#connections = this.#line.connections;
    this.#attempts = 0;
    this.#wasOpen = true;
    this.#happened(isFirst ? "Connected." : "Connected again.");
    say(find("#reconnects"), count(this.#connections - 1));
    this.#results.clear();
    if (isFirst) this.#judged("", "Messages are numbered: the page knows whether it has them all.", "");
    else this.#judged("Catching up", "The server is asked for what was missed.", "");
  }

  /** @param {Error | undefined} reason */
  #connecting(reason) {
    say(this.#state, "Connecting");
    this.#attempts++;
    this.#lostIt(reason);
    say(this.#reason, this.#connections ? `Attempt ${this.#attempts}.` : "The page makes its first connection.");
  }

  /** @param {Error | undefined} reason */
  #waiting(reason) {
    say(this.#state, "Waiting");
    this.#lostIt(reason);
    say(this.#reason, this.#line.isCut ? "You cut the line." : this.#attempts ? attempted(reason) : sentence(reason));
  }

  /** @param {Error | undefined} reason */
  #closed(reason) {
    say(this.#state, "Closed");
    say(this.#reason, sentence(reason));
    this.#happened(`Closed for good. ${sentence(reason)}`);
    this.#judged("The page is still.", "It does not come back by itself: reload it.", "");
  }

  /** @param {Error | undefined} reason */
  #lostIt(reason) {
    if (this.#wasOpen) {
      this.#wasOpen = false;
      this.#happened(this.#line.isCut ? "You cut the line." : `The connection is lost. ${sentence(reason)}`);
      this.#judged("", HAVE, "");
    } else if (this.#attempts && this.#view.dataset.state === "waiting") {
      this.#happened(`${counted(this.#attempts, "attempt has", "attempts have")} failed.`, true);
    }
  }

  /** @param {string} channel @param {number | null} missed */
  #judge(channel, missed) {
    if (this.#connections === 1 && missed === 0) return; // there was nothing to be missed
    this.#results.set(channel, missed);
    const results = [...this.#results.values()];
    if (results.includes(null)) {
      if (missed === null) this.#happened("Messages were lost.");
      this.#hasLost = true;
      this.#judged("Messages were lost.", "The server has them no more: the page has loaded what there is now.", "lost");
    } else if (this.#results.size === this.#channels.length) {
      const late = results.reduce((/** @type {number} */ sum, each) => sum + (each ?? 0), 0);
      const came = late ? `${counted(late, "message")} came late.` : "No message was published meanwhile.";
      this.#happened(`Nothing was missed. ${came}`);
      this.#judged("Nothing was missed.", came, "whole");
    }
  }

  /**
   * @param {string} short
   * @param {string} long
   * @param {string} kind
   */
  #judged(short, long, kind) {
    this.#verdict.className = kind;
    say(find("strong", this.#verdict), short);
    say(find("span", this.#verdict), long);
  }

  /**
   * @param {string} text
   * @param {boolean} [again] in the place of the last one, if that was such a one
   */
  #happened(text, again = false) {
    if (text === this.#said) return;
    this.#said = text;
    const at = element("time", "", timeOfDay(Date.now()));
    const item = element("li", again ? "again" : "", at, element("span", "", text));
    if (again && this.#events.firstChild?.className === "again") this.#events.firstChild.remove();
    this.#events.prepend(item);
    if (this.#events.children.length > EVENTS) this.#events.lastChild.remove();
  }

  #tick() {
    const left = this.#due ? Math.max(0, this.#due.at - performance.now()) : 0;
    say(this.#countdown, this.#due ? `Next attempt in ${decimal(left / 1000)} s` : "");
    this.#until.style.setProperty("--left", String(this.#due?.in ? left / this.#due.in : 0));
  }

  #toggle() {
    if (this.#line.isCut) {
      this.#line.mend();
      this.#client?.hurry();
    } else this.#line.cut();
    say(this.#cut, this.#line.isCut ? "Mend the line" : "Cut the line");
  }
}
