// npm's `json-rpc-2.0`, which leaves the transport to its user. It has batches, and counts its ids
// from 1. Cancelling is none of its business: that is a notification like any other.
import {
  JSONRPCClient,
  JSONRPCServer,
  JSONRPCServerAndClient,
  createJSONRPCNotification,
  createJSONRPCRequest,
} from "json-rpc-2.0";

export function open(socket, heard, unexpected) {
  const ids = new Map();
  let last = 0;
  const send = (message) => socket.send(JSON.stringify(message));
  const peer = new JSONRPCServerAndClient(
    new JSONRPCServer({ errorListener: unexpected }),
    new JSONRPCClient(send, () => ++last),
    { errorListener: unexpected },
  );
  const answer = (method, result) =>
    peer.addMethod(method, (params) => {
      heard(method, params);
      return result;
    });
  answer("event");
  answer("rpc.item");

  const waiting = peer.client.idToResolveMap; // an answer to no call is dropped without a word
  socket.on("message", (data) => {
    const text = data.toString();
    for (const { id, method } of [JSON.parse(text)].flat())
      if (method === undefined && !waiting.has(id)) unexpected(text);
    peer.receiveAndSend(JSON.parse(text)).catch((error) => unexpected(error.message));
  });

  return {
    call(name, method, params) {
      const outcome = peer.request(method, params);
      ids.set(name, last);
      return outcome;
    },
    batch: (requests) =>
      peer.requestAdvanced(
        requests.map(([method, params, isCall]) =>
          isCall
            ? createJSONRPCRequest(++last, method, params ?? undefined)
            : createJSONRPCNotification(method, params ?? undefined),
        ),
      ),
    notify: (method, params) => peer.notify(method, params),
    cancel: (name) => peer.notify("$/cancelRequest", { id: ids.get(name) }),
    answer,
  };
}
