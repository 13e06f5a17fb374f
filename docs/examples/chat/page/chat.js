// The page of the chat: what is said in a room, who is there, and how the connection is.

// [elements]
import { connect, PositionLost } from "/openapi.js";

const LINES = 100; // that are shown; the server keeps as many

const [state, here, lines, form, note] = ["state", "here", "lines", "say", "note"].map((id) =>
  document.getElementById(id),
);

function add(text) {
  const line = document.createElement("li");
  line.textContent = text; // never innerHTML: somebody else wrote it
  lines.append(line);
  if (lines.children.length > LINES) lines.firstChild.remove();
}
// [/elements]

// [connect]
const room = new URLSearchParams(location.search).get("room") ?? "lobby";
const channel = `room:${room}`;

const client = connect(`/chat${location.search}`, {
  onstate({ state: now, reason, retryIn }) {
    if (now === "waiting") state.value = `lost, next attempt within ${Math.ceil(retryIn / 1000)} s`;
    else if (now === "closed") state.value = `closed: ${reason.reason}`;
    else state.value = now;
  },
});
// [/connect]

// [members]
const members = new Set();

async function ask() {
  const now = await client.presence(channel, { timeout: null });
  members.clear();
  for (const { id } of now) members.add(id);
  showMembers();
}

function showMembers() {
  here.value = [...members].sort().join(", ");
}
// [/members]

// [follow]
function show({ event, data }) {
  if (event === "said") return add(`${data.name}: ${data.text}`);
  if (event === "$join") members.add(data.id);
  if (event === "$leave") members.delete(data.id);
  showMembers();
}

async function follow() {
  const onrenewed = () => ask().catch(failed);
  const subscription = client.subscribe(channel, { presence: true, timeout: null, onrenewed });
  await subscription.opened();
  for (let lost = false; ; lost = true) {
    const kept = await client.history(channel, { limit: LINES, reverse: true, timeout: null });
    lines.replaceChildren();
    if (lost) add("Messages were lost. This is what is kept.");
    kept.messages.reverse().forEach(show);
    await ask();
    try {
      for await (const message of subscription) {
        if (message.position?.offset <= kept.position.offset) continue; // it is shown already
        show(message);
      }
      return; // the client is closed
    } catch (error) {
      if (!(error instanceof PositionLost)) throw error;
    }
  }
}

function failed(error) {
  note.value = `Nothing comes any more: ${error.message}`;
}

follow().catch(failed);
// [/follow]

// [say]
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = form.elements.text.value;
  form.elements.text.value = "";
  note.value = "Sending …";
  try {
    const key = crypto.randomUUID(); // of pages by https, or of this machine
    await client.call("say", { text, room, key }, { idempotent: true, timeout: 120_000 });
    note.value = "";
  } catch (error) {
    note.value = `Not sent: ${error.message}`;
    form.elements.text.value = text;
  }
});
// [/say]
