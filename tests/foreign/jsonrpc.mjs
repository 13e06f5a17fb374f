// A JSON-RPC 2.0 client of npm, led by lines of JSON on its standard input:
//   node jsonrpc.mjs json-rpc-2.0|vscode-jsonrpc ws://HOST:PORT/PATH [SUBPROTOCOL]
//
// in:   ["call", NAME, METHOD, PARAMS]    NAME is for `cancel` and `ended`, and is not the id
//       ["batch", NAME, [[METHOD, PARAMS, true of a call, false of a notification], …]]
//       ["notify", METHOD, PARAMS]
//       ["cancel", NAME]
//       ["answer", METHOD, RESULT]        what the server gets when it calls this method
// out:  ["ended", NAME, {"result": …} or {"error": {"code", "message", "data"}}]
//       ["heard", METHOD, PARAMS]         the server notified, or called
//       ["unexpected", TEXT]              the client makes nothing of what came
//
// PARAMS are an object, an array, or null for none. It ends when its input does.
import { createInterface } from "node:readline";
import WebSocket from "ws";

const [library, url, subprotocol] = process.argv.slice(2);
const { open } = await import(`./${library}.mjs`);

const say = (...line) => console.log(JSON.stringify(line));
const end = (name, outcome) =>
  outcome.then(
    (result) => say("ended", name, { result }),
    ({ code, message, data }) => say("ended", name, { error: { code, message, data } }),
  );

const socket = new WebSocket(url, subprotocol ? [subprotocol] : []);
socket.on("close", (code) => process.exit(code === 1000 ? 0 : 1));
socket.on("error", (error) => say("unexpected", error.message));
socket.on("open", () => {
  const client = open(
    socket,
    (method, params) => say("heard", method, params),
    (text) => say("unexpected", text),
  );
  const verbs = {
    call: (name, method, params) => end(name, client.call(name, method, params ?? undefined)),
    batch: (name, requests) => end(name, client.batch(requests)),
    notify: (method, params) => client.notify(method, params ?? undefined),
    cancel: (name) => client.cancel(name),
    answer: (method, result) => client.answer(method, result),
  };
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    const [verb, ...rest] = JSON.parse(line);
    verbs[verb](...rest);
  });
  lines.on("close", () => socket.close(1000));
});
