/** A server that speaks the wire by hand: a test says each of its words. */

import { once } from "node:events";
import { WebSocketServer } from "ws";

/** What came and was not asked for yet, or who waits for it. @template T */
export class Mailbox {
  /** @type {T[]} */
  #items = [];
  /** @type {((item: T) => void)[]} */
  #readers = [];

  get size() {
    return this.#items.length;
  }

  /** @param {T} item */
  put(item) {
    const reader = this.#readers.shift();
    if (reader) reader(item);
    else this.#items.push(item);
  }

  /** @returns {Promise<T>} */
  next() {
    if (this.#items.length) return Promise.resolve(/** @type {T} */ (this.#items.shift()));
    return new Promise((resolve) => this.#readers.push(resolve));
  }
}

/** One connection, as the server has it. */
export class Peer {
  /** @type {Mailbox<any>} */
  #frames = new Mailbox();

  /**
   * @param {import("ws").WebSocket} socket
   * @param {import("node:http").IncomingMessage} request
   */
  constructor(socket, request) {
    this.socket = socket;
    this.path = request.url;
    this.protocol = socket.protocol;
    /** @type {Promise<[number, string]>} */
    this.closed = new Promise((resolve) => socket.on("close", (code, reason) => resolve([code, String(reason)])));
    socket.on("message", (data) => this.#frames.put(JSON.parse(String(data))));
  }

  /** How many frames came that nobody asked for. */
  get unread() {
    return this.#frames.size;
  }

  /** @returns {Promise<any>} the next frame of the client */
  next() {
    return this.#frames.next();
  }

  /** @param {unknown} frame */
  send(frame) {
    this.socket.send(JSON.stringify(frame));
  }

  /** Answer the next frame, a call. @param {any} response */
  async answer(response) {
    const call = await this.next();
    this.send({ id: call.id, method: call.method, response });
    return call;
  }

  /** Refuse the next frame, a call. @param {any} error */
  async refuse(error) {
    const call = await this.next();
    this.send({ id: call.id, method: call.method, error });
    return call;
  }

  /** @param {number} code @param {string} [reason] */
  close(code, reason) {
    this.socket.close(code, reason);
  }

  /** Cut the connection, without a word. */
  cut() {
    this.socket.terminate();
  }
}

/** A server on a free port. It ends with the test. @param {import("node:test").TestContext} t */
export async function serve(t) {
  /** @type {Mailbox<Peer>} */
  const peers = new Mailbox();
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: (offered) => [...offered][0] ?? false });
  server.on("connection", (socket, request) => peers.put(new Peer(socket, request)));
  await once(server, "listening");
  t.after(() => {
    for (const socket of server.clients) socket.terminate();
    return new Promise((resolve) => server.close(resolve));
  });
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return { url: `ws://127.0.0.1:${port}/stream`, accept: () => peers.next(), server };
}
