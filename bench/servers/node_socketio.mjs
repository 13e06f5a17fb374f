// What one writes with Socket.IO for Node.js: rooms, and acknowledgements as answers to calls. JSON is
// parsed, and nothing is validated.
import { createServer } from "node:http";
import { createRequire } from "node:module";

// Where the packages are is not beside this file.
const require = createRequire(new URL("../js/package.json", import.meta.url));
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  serveClient: false,
  perMessageDeflate: false,
  pingInterval: 3_600_000,
});

// Its guide to tuning: the first request of each connection need not be kept.
io.engine.on("connection", (raw) => {
  raw.request = null;
});

const order = async (payload) => ({
  id: payload.id,
  total: payload.price * 1.2,
  text: payload.note,
});

io.on("connection", (socket) => {
  socket.on("order", async (payload, answer) => answer(await order(payload)));
  socket.on("subscribe", (channel, answer) => {
    socket.join(channel);
    answer();
  });
  socket.on("publish", ({ channel, event, data }, answer) => {
    io.to(channel).emit(event, { channel, data });
    answer();
  });
});

http.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => console.log(http.address().port));
