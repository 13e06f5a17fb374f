// The documented endpoint, used by npm's `ws`: node stream.mjs ws://HOST:PORT/stream
// Calls info, subscribes, publishes and receives; prints the frames that came, one a line.
import WebSocket from "ws";

const socket = new WebSocket(process.argv[2]);
const calls = [
  { id: "a", method: "info" },
  { id: "b", method: "subscribe", payload: { channel: "news", event: "w*" } },
  { id: "c", method: "publish", payload: { channel: "news", event: "world", data: { n: 1 } } },
];
const expected = calls.length + 1; // an answer to each, and the message
let received = 0;

const next = () => {
  const call = calls.shift();
  if (call) socket.send(JSON.stringify(call));
};

socket.on("open", next);
socket.on("message", (text) => {
  console.log(text.toString());
  received += 1;
  if (received === expected) socket.close(1000);
  else if ("id" in JSON.parse(text)) next();
});
socket.on("close", (code) => process.exit(code === 1000 ? 0 : 1));
socket.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
