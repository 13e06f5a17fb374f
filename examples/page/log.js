/** The log of the server: a stream, which is begun again on each connection. */

import { ConnectionClosed } from "/openapi.js";
import { element, find, say } from "./elements.js";

/** How many lines are shown. */
const LINES = 200;

/** How many of those that are there already. */
const LAST = 50;

const PATH = "monitor.log";

/**
 * @param {import("/openapi.js").Client} client
 * @param {() => Promise<void>} changed resolves at the client's next change
 */
export async function showLog(client, changed) {
  const card = find("#log");
  const list = find("ol", card);
  const now = find(".now", card);
  while (!client.closed) {
    // The server ends it when it is about to go itself. The connection may have gone before, and the
    // client be on another one.
    let isOver = true;
    try {
      let isFirst = true;
      /** @type {AsyncIterable<{ offset: number, text: string }>} */
      const lines = client.stream("tail", { path: PATH, lines: LAST });
      for await (const { text } of lines) {
        if (isFirst) list.replaceChildren();
        isFirst = false;
        add(list, text);
        say(now, "a stream, as it comes");
      }
    } catch (error) {
      if (!(error instanceof ConnectionClosed)) {
        say(now, "");
        list.replaceChildren(element("li", "empty", `There is no ${PATH} to be followed: ${error instanceof Error ? error.message : error}.`));
        return;
      }
      isOver = client.state !== "open";
    }
    say(now, "begins again with the next connection");
    if (isOver && !client.closed) await changed();
  }
}

/** @param {HTMLElement} list @param {string} text */
function add(list, text) {
  const isAtEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
  const [, day, time, said] = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d),\d{3} (.*)$/.exec(text) ?? [];
  const line = day ? [element("time", "", time ?? ""), element("span", "", said ?? "")] : [element("span", "", text)];
  list.append(element("li", "", ...line));
  while (list.children.length > LINES) list.firstElementChild?.remove();
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}
