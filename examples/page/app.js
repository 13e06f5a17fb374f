/** The page of the monitor: one client, and what is shown of it. */

import { connect } from "/openapi.js";
import { ConnectionView } from "./connection.js";
import { find, say } from "./elements.js";
import { KeptChannel } from "./kept.js";
import { Line } from "./line.js";
import { showLog } from "./log.js";
import { KEPT, Machine } from "./machine.js";
import { showNotes } from "./notes.js";
import { showProcesses } from "./processes.js";
import { Questions } from "./questions.js";
import { counted, size } from "./units.js";

const line = new Line("/stream");
const connection = new ConnectionView(line, ["host", "notes"]);
const machine = new Machine();
const questions = new Questions();

/** @type {(() => void)[]} who waits for the next change */
let waiting = [];

const client = connect(line.address, {
  WebSocket: line.WebSocket,
  serve: { confirm: questions.confirm },
  onstate(status) {
    connection.changed(client, status);
    if (status.state === "open") showFacts();
    for (const each of waiting.splice(0)) each();
  },
});

const host = new KeptChannel(client, "host", KEPT, {
  load: (messages) => machine.load(messages),
  add(message) {
    machine.add(message);
    connection.counted(host);
  },
  recovered: (missed) => connection.recovered("host", missed),
  lost: () => connection.lost("host"),
  failed: (error) => connection.refused("host", error),
});
showNotes(client, connection);
questions.show(client, connection);
showProcesses(client);
showLog(client, () => new Promise((resolve) => waiting.push(resolve)));
say(find("#host"), location.host);

/** What machine this is. */
async function showFacts() {
  try {
    const { host, system, processors, memory_mib, up } = await client.call("info", null, { idempotent: true });
    const facts = [host, system, counted(processors, "processor"), size(memory_mib), `up ${up}`];
    say(find("#facts"), facts.join("\u00a0· "));
  } catch {
    // The connection has ended: the next one asks again.
  }
}
