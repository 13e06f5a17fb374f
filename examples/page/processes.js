/** The processes that use most, asked for by a call again and again. */

import { element, find, say } from "./elements.js";
import { decimal, timeOfDay } from "./units.js";

/** @typedef {{ pid: number, name: string, cpu_percent: number, memory_mib: number }} Process */

/** How many are shown. */
const ROWS = 12;

/** Milliseconds between two calls. */
const PAUSE = 3000;

/** @param {import("/openapi.js").Client} client */
export function showProcesses(client) {
  const card = find("#processes");
  const hint = find(".hint", card);
  const heads = [...card.querySelectorAll("th[data-by]")];
  const rows = Array.from({ length: ROWS }, () => {
    const cells = ["", "number", "number meter", "number meter"].map((kind) => element("td", kind, "\u00a0"));
    find("tbody", card).append(element("tr", "", ...cells));
    return cells;
  });
  let by = "cpu";
  /** Tells calls apart: the answer to an older one is not shown. */
  let asked = 0;
  let isAsking = false;

  /** @param {Process[]} processes */
  function show(processes) {
    const most = Math.max(1, ...processes.map(({ memory_mib }) => memory_mib));
    rows.forEach((cells, index) => {
      const process = processes[index];
      const texts = process
        ? [process.name, String(process.pid), decimal(process.cpu_percent), decimal(process.memory_mib)]
        : ["\u00a0", "", "", ""];
      cells.forEach((cell, column) => say(cell, texts[column] ?? ""));
      cells[2]?.style.setProperty("--used", `${Math.min(100, process?.cpu_percent ?? 0)}%`);
      cells[3]?.style.setProperty("--used", `${((process?.memory_mib ?? 0) / most) * 100}%`);
    });
    say(find("#as-of"), `at ${timeOfDay(Date.now())}`);
    say(hint, processes.length ? `The ${processes.length} that use most of the ${by === "cpu" ? "CPU" : "memory"}.` : "No process may be seen.");
  }

  async function ask() {
    const call = ++asked;
    isAsking = true;
    try {
      const processes = await client.call("processes", { by, limit: ROWS }, { idempotent: true });
      if (call === asked) show(processes);
    } catch (error) {
      if (call === asked && !client.closed) say(hint, `The processes are not known: ${error instanceof Error ? error.message : error}.`);
    } finally {
      if (call === asked) isAsking = false;
    }
  }

  for (const head of heads) {
    find("button", head).addEventListener("click", () => {
      by = head.getAttribute("data-by") ?? by;
      for (const each of heads) {
        if (each === head) each.setAttribute("aria-sort", "descending");
        else each.removeAttribute("aria-sort");
      }
      find("table", card).dataset.by = by;
      ask();
    });
  }
  ask();
  setInterval(() => {
    if (client.state === "open" && !isAsking && !document.hidden) ask();
  }, PAUSE);
}
