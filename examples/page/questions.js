/**
 * Questions: the server asks this page, which calls `confirm` here and waits for its answer; and the
 * page has the server ask everyone else.
 */

import { ConnectionClosed, RpcError } from "/openapi.js";
import { element, find, say } from "./elements.js";
import { counted, timeOfDay } from "./units.js";

/** @typedef {{ socket: string, yes: boolean | null, error: string | null }} Vote */

/** How many may wait for an answer; more are refused. */
const ASKED = 5;

/** How many outcomes are shown. */
const OUTCOMES = 20;

/** Seconds that everyone has to answer. */
const SECONDS = 20;

/** The code of the application's own that a question too many is refused with. */
const TOO_MANY = 1;

const HINT = `Each of them has ${SECONDS} seconds to answer.`;
const EMPTY = "Nothing has been asked yet. Open this page a second time, and ask.";

export class Questions {
  #card = find("#questions");
  #asked = find(".asked", this.#card);
  #outcomes = find("ol", this.#card);
  #hint = find(".hint", this.#card);
  #form = find("form", this.#card);
  #title = document.title;
  #empty = element("li", "empty", EMPTY);

  constructor() {
    this.#outcomes.append(this.#empty);
  }

  /**
   * What the server calls: shows the question, and answers when somebody does.
   *
   * @param {{ text: unknown }} payload
   * @param {{ signal: AbortSignal }} context
   * @returns {Promise<{ yes: boolean }>}
   */
  confirm = ({ text }, { signal }) =>
    new Promise((resolve, reject) => {
      if (this.#asked.children.length >= ASKED) {
        throw new RpcError(TOO_MANY, `${ASKED} questions wait for an answer already`);
      }
      const yes = element("button", "", "Yes");
      const no = element("button", "", "No");
      const buttons = element("div", "buttons", yes, no);
      const question = element("div", "question", element("p", "text", String(text)), buttons);
      question.setAttribute("role", "group");
      question.setAttribute("aria-label", "You are asked");
      const over = () => {
        question.remove();
        this.#count();
      };
      yes.addEventListener("click", () => (over(), resolve({ yes: true })));
      no.addEventListener("click", () => (over(), resolve({ yes: false })));
      signal.addEventListener("abort", () => {
        over();
        reject(signal.reason); // nobody waits for it any more
      });
      this.#asked.append(question);
      this.#count();
    });

  /**
   * @param {import("/openapi.js").Client} client
   * @param {import("./connection.js").ConnectionView} connection
   */
  show(client, connection) {
    /** @type {Set<string>} who is on the channel, this page too */
    let here = new Set();
    const count = async () => {
      try {
        here = new Set((await client.presence("questions")).map(({ id }) => id));
        this.#others(here.size - 1);
      } catch {
        this.#others(NaN); // it is a number to look at, and no more
      }
    };
    const subscription = client.subscribe("questions", {
      presence: true,
      timeout: null,
      onmessage: ({ event, data }) => {
        if (event === "answered") this.#answered(data);
        else if (event === "$join") here.add(data.id);
        else if (event === "$leave") here.delete(data.id);
        this.#others(here.size - 1);
      },
      onrenewed: count,
      onclose: (error) => {
        if (!error) return;
        connection.refused("questions", error);
        say(this.#hint, "Nothing is asked here any more.");
      },
    });
    subscription.opened().then(count, () => {}); // onclose has it
    this.#form.addEventListener("submit", (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      this.#ask(client, this.#form.elements.text.value);
    });
  }

  /** @param {import("/openapi.js").Client} client @param {string} text */
  async #ask(client, text) {
    const button = find("button", this.#form);
    button.disabled = true;
    say(this.#hint, client.state === "open" ? `They are asked, and have ${SECONDS} seconds.` : "It is asked when the connection is back.");
    try {
      const votes = await client.call("confirm", { text, seconds: SECONDS }, { timeout: 60_000 });
      this.#form.elements.text.value = "";
      say(this.#hint, votes.length ? `${counted(votes.length, "answer")} came.` : "Nobody else is here to answer.");
    } catch (error) {
      if (error instanceof ConnectionClosed) say(this.#hint, "The connection ended before the answers came.");
      else say(this.#hint, `It was not asked: ${error instanceof Error ? error.message : error}.`);
    } finally {
      button.disabled = false;
    }
  }

  /** @param {unknown} data what anybody may have published */
  #answered(data) {
    const { text, votes } = /** @type {{ text?: unknown, votes?: unknown }} */ (data ?? {});
    if (typeof text !== "string" || !Array.isArray(votes)) return;
    this.#empty.remove();
    const yes = votes.filter((vote) => vote?.yes === true).length;
    const no = votes.filter((vote) => vote?.yes === false).length;
    const result = votes.length
      ? [`${yes} yes`, `${no} no`, ...(votes.length > yes + no ? [`${votes.length - yes - no} without an answer`] : [])]
      : ["nobody was there"];
    const head = element("p", "by", element("b", "", result.join(" · ")), element("time", "", timeOfDay(Date.now())));
    this.#outcomes.prepend(element("li", "note", head, element("p", "text", text)));
    if (this.#outcomes.children.length > OUTCOMES) this.#outcomes.lastChild.remove();
  }

  /** @param {number} others */
  #others(others) {
    const text = others === 0 ? "nobody else is here" : `${counted(others, "other is", "others are")} here`;
    say(find(".now", this.#card), others >= 0 ? text : "");
  }

  #count() {
    const waiting = this.#asked.children.length;
    document.title = waiting ? `(${waiting}) ${this.#title}` : this.#title;
    say(this.#hint, waiting ? "You are asked: the server waits for your answer." : HINT);
  }
}
