// npm's `vscode-jsonrpc`, by which editors talk to language servers, over `vscode-ws-jsonrpc`. It
// has cancelling, and no batches. Its ids count from 0.
import { CancellationTokenSource } from "vscode-jsonrpc";
import { createWebSocketConnection, toSocket } from "vscode-ws-jsonrpc";

export function open(socket, heard, unexpected) {
  const sources = new Map();
  const quiet = () => {};
  const logger = { error: unexpected, warn: unexpected, info: quiet, log: quiet };
  const connection = createWebSocketConnection(toSocket(socket), logger);
  connection.onError(([error]) => unexpected(error.message));
  connection.onNotification(heard); // of any name
  connection.listen();

  // each parameter by position is an argument of its own, and an object is those by name
  const spread = (params) => (params === undefined ? [] : [params].flat());
  return {
    call(name, method, params) {
      const source = new CancellationTokenSource();
      sources.set(name, source);
      return connection.sendRequest(method, ...spread(params), source.token);
    },
    notify: (method, params) => connection.sendNotification(method, ...spread(params)),
    cancel: (name) => sources.get(name).cancel(),
    answer: (method, result) =>
      connection.onRequest(method, (params) => {
        heard(method, params);
        return result;
      }),
  };
}
