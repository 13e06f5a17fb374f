// What one writes with ws for Node.js alone: JSON is parsed, and nothing is validated.
import { createRequire } from "node:module";

// Where the packages are is not beside this file.
const { WebSocketServer } = createRequire(new URL("../js/package.json", import.meta.url))("ws");

const channels = new Map();

const methods = {
  async order(socket, payload) {
    return { id: payload.id, total: payload.price * 1.2, text: payload.note };
  },
  async subscribe(socket, payload) {
    let subscribed = channels.get(payload.channel);
    if (subscribed === undefined) channels.set(payload.channel, (subscribed = new Set()));
    subscribed.add(socket);
    return null;
  },
  async publish(socket, payload) {
    // as bytes: a string would be encoded anew for each
    const message = Buffer.from(JSON.stringify(payload));
    for (const each of channels.get(payload.channel) ?? []) {
      if (each.readyState === each.OPEN) each.send(message, { binary: false });
    }
    return null;
  },
};

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  path: "/stream",
  backlog: 4096,
  perMessageDeflate: false,
});

server.on("connection", (socket) => {
  socket.on("error", console.error);
  socket.on("message", async (data) => {
    const { id, method, payload } = JSON.parse(data);
    const response = await methods[method](socket, payload);
    socket.send(JSON.stringify({ id, method, response }));
  });
  socket.on("close", () => {
    for (const subscribed of channels.values()) subscribed.delete(socket);
  });
});
server.on("listening", () => console.log(server.address().port));
