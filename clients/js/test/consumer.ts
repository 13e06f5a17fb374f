// What an application in TypeScript writes: `types.test.js` has it checked against the package.

import {
  type Address,
  type CallOptions,
  CallFailed,
  type Client,
  type ClientState,
  connect,
  ConnectionClosed,
  type Handler,
  type History,
  type Member,
  type Message,
  type Options,
  type Position,
  PositionLost,
  RpcError,
  type Status,
  type Stream,
  type StreamOptions,
  type SubscribeOptions,
  type Subscription,
  TooSlow,
  UnexpectedData,
} from "aio-openapi";

interface Sum {
  sum: number;
}

const confirm: Handler = async (payload, { signal }) => {
  if (signal.aborted) throw new RpcError(7, "no", { data: payload, retryAfter: 5 });
  return { yes: true };
};

const options: Options = {
  serve: { confirm },
  offline: "fail",
  heartbeat: null,
  onstate: ({ state, reason, retryIn }: Status) => void ([state, reason?.message, retryIn?.toFixed()] as const),
};
const url: () => Promise<Address> = async () => "wss://example.com/stream";
const client: Client = connect(url, options);
const state: ClientState = client.state;
const closed: ConnectionClosed | null = client.closed;

const how: CallOptions = { timeout: null, signal: AbortSignal.timeout(5), idempotent: true };
const perhaps: AbortSignal | undefined = state === "open" ? how.signal : undefined;
client.stream("sums", {}, { signal: perhaps }).close();
const { sum }: Sum = await client.call<Sum>("add", { a: 1, b: 2 }, how);
client.notify("touch");

const reading: StreamOptions = { timeout: 5, queueBytes: 10 };
const stream: Stream<Sum> = client.stream<Sum>("sums", {}, reading);
for await (const item of stream) item.sum.toFixed();

const subscribing: SubscribeOptions<Sum> = { event: "s*", onmessage: ({ data }) => data.sum.toFixed() };
const subscription: Subscription<Sum> = await client.subscribe("sums", subscribing).opened();
for await (const message of subscription) {
  const each: Message<Sum> = message;
  each.data.sum.toFixed();
}
const position: Position | null = subscription.position;
const at: Position | null = await client.publish("sums", "s", { sum }, { key: "k" });
const { messages }: History<Sum> = await client.history<Sum>("sums", { limit: 5, reverse: true });
const members: Member[] = await client.presence("sums");
client.serve("confirm", confirm)();

for (const error of [new CallFailed(1, "a"), new PositionLost("c", 1, "e"), new TooSlow("c"), new UnexpectedData("x")]) {
  if (error instanceof CallFailed) error.errors?.["items[0]"]?.trim();
}

// @ts-expect-error a channel has a name
client.subscribe(1);
// @ts-expect-error there is no such option
connect("ws://example.com/", { reconnect: true });
// @ts-expect-error it is not for applications
subscription._at;

await client.close(4000, "bye");
export { at, closed, members, messages, position, state };
