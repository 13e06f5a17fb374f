/** Notes that people leave: those that are kept, each new one, and a form to leave one. */

import { element, find, say } from "./elements.js";
import { KeptChannel } from "./kept.js";
import { counted, moment } from "./units.js";

/** @typedef {import("/openapi.js").Message} Message */

/** How many are shown; the server keeps as many. */
const NOTES = 100;

const EMPTY = "There are no notes yet: write the first.";

/**
 * @param {import("/openapi.js").Client} client
 * @param {import("./connection.js").ConnectionView} connection
 */
export function showNotes(client, connection) {
  const card = find("#notes");
  const list = find("ol", card);
  const hint = find(".hint", card);
  const form = find("form", card);
  const empty = element("li", "empty", "The notes are asked for.");
  list.append(empty);

  function say_how_many() {
    const notes = list.children.length - (empty.isConnected ? 1 : 0);
    say(find(".now", card), notes ? counted(notes, "note") : "");
  }

  /** @param {Message} message */
  function add({ event, data }) {
    // Anybody may publish here, whatever it is.
    if (event !== "note" || typeof data?.text !== "string") return;
    empty.remove();
    const author = typeof data.author === "string" ? data.author : "somebody";
    const at = Date.parse(data.at);
    const head = element("p", "by", element("b", "", author));
    if (at) {
      const time = element("time", "", moment(at));
      time.dateTime = new Date(at).toISOString();
      head.append(time);
    }
    list.prepend(element("li", "note", head, element("p", "text", data.text)));
    while (list.children.length > NOTES) list.lastChild.remove();
    say_how_many();
  }

  new KeptChannel(client, "notes", NOTES, {
    load(messages) {
      say(empty, EMPTY);
      list.replaceChildren(empty);
      messages.forEach(add);
      say_how_many();
    },
    add,
    recovered: (missed) => connection.recovered("notes", missed),
    lost: () => connection.lost("notes"),
    failed(error) {
      connection.refused("notes", error);
      say(hint, "New notes are not shown any more.");
    },
  });

  form.addEventListener("submit", async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const button = find("button", form);
    const { author, text } = Object.fromEntries(/** @type {any} */ (new FormData(form)));
    button.disabled = true;
    try {
      await post(author.trim() ? { text, author } : { text });
      form.elements.text.value = "";
      say(hint, "Your note is posted.");
    } catch (error) {
      say(hint, error instanceof Refused ? error.message : "The server cannot be reached. Your note is not posted; try again.");
    } finally {
      button.disabled = false;
    }
  });
}

/** The server does not take the note. */
class Refused extends Error {}

/**
 * @param {{ text: string, author?: string }} note
 * @throws {Refused | TypeError}
 */
async function post(note) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch("/notes", { method: "POST", headers, body: JSON.stringify(note) });
  if (answer.ok) return;
  const said = await answer.json().catch(() => ({}));
  const faults = (said.errors ?? []).map((/** @type {any} */ each) => `${each.field}: ${each.message}`);
  throw new Refused(`The note is refused. ${faults.join("; ") || said.message || answer.status}`);
}
