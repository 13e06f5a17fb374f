// The states of a client, and what has it come back.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { WebSocket } from "ws";
import { Clock } from "./clock.js";
import { connect, ConnectionClosed } from "./module.js";
import { Mailbox, serve } from "./server.js";
import { begin, open, refusal, reporting } from "./stage.js";

/** What a page has, and Node.js need not. @type {any} */
const page = globalThis;

describe("a client", () => {
  it("returns at once, and is open when the server has taken it", async (t) => {
    const { client, server } = await begin(t);
    assert.equal(client.state, "connecting");
    assert.equal(client.closed, null);
    const peer = await server.accept();
    assert.equal(peer.protocol, "wsrpc.v1.json");
    assert.equal(peer.path, "/stream");
    assert.equal(await client.opened(), client);
    assert.equal(client.state, "open");
    assert.equal(await client.opened(), client);
  });

  it("tells its states in their order, with the reason, and how long it waits", async (t) => {
    const { client, clock, peer, until, server } = await open(t);
    peer.close(1012, "restart");
    const waiting = await until("waiting");
    assert.equal(waiting.reason?.code, 1012);
    assert.equal(waiting.reason?.reason, "restart");
    assert.equal(waiting.retryIn, 250);
    clock.pass(100);
    assert.deepEqual({ ...client.status, reason: 0 }, { state: "waiting", reason: 0, retryIn: 150 });
    clock.pass(150);
    const connecting = await until("connecting");
    assert.equal(connecting.reason?.code, 1012);
    await server.accept();
    assert.deepEqual(await until("open"), { state: "open", reason: undefined, retryIn: undefined });
    await client.close();
    assert.equal((await until("closed")).reason?.code, 1000);
  });

  for (const code of [1001, 1005, 1006, 1007, 1009, 1011, 1012, 4000, 4001, 4008, 4010, 4499, 5000]) {
    it(`comes back after ${code}`, async (t) => {
      const { peer, until, client, clock, server } = await open(t);
      if (code === 1006) peer.cut();
      else if (code === 1005) peer.socket.close();
      else if (code === 5000) peer.socket.close(3999);
      else peer.close(code);
      const { reason } = await until("waiting");
      assert.equal(reason?.code, code === 5000 ? 3999 : code);
      clock.pass(250);
      await server.accept();
      await client.opened();
    });
  }

  for (const code of [1000, 1002, 1003, 4500, 4501, 4503, 4504, 4999]) {
    it(`does not come back after ${code}`, async (t) => {
      const { peer, until, client, clock } = await open(t);
      peer.close(code, "no");
      await until("closed");
      assert.ok(client.closed instanceof ConnectionClosed);
      assert.equal(client.closed.code, code);
      assert.equal(client.closed.reason, "no");
      assert.equal(client.closed.mayHaveRun, false);
      assert.match(client.closed.message, new RegExp(`^the connection is closed \\(${code}, no\\)$`));
      assert.equal(clock.timers, 0);
      assert.equal(await refusal(client.opened()), client.closed);
      assert.equal((await refusal(client.call("echo"))).code, code);
    });
  }

  it("waits twice as long after each attempt that fails, in a random part, and begins anew after a connection that held", async (t) => {
    const { client, clock, until, peer, server } = await open(t);
    clock.chance = 1;
    peer.close(1012);
    assert.equal((await until("waiting")).retryIn, 500);
    server.server.options.verifyClient = () => false;
    for (const delay of [500, 1000, 2000]) {
      clock.pass(delay);
      const { retryIn, reason } = await until("waiting");
      assert.equal(retryIn, 2 * delay);
      assert.match(reason?.message ?? "", /401/);
    }
    server.server.options.verifyClient = undefined;
    clock.pass(4000);
    const again = await server.accept();
    await until("open");
    clock.pass(9_999);
    again.close(1012);
    assert.equal((await until("waiting")).retryIn, 8000);
    clock.pass(8000);
    const last = await server.accept();
    await until("open");
    clock.pass(10_000);
    last.close(1012);
    assert.equal((await until("waiting")).retryIn, 500);
    assert.equal(client.state, "waiting");
  });

  it("takes the ceilings that it is given", async (t) => {
    const { clock, until, peer } = await open(t, { first: 100, cap: 150 });
    clock.chance = 1;
    peer.close(1012);
    assert.equal((await until("waiting")).retryIn, 100);
  });

  it("comes back to a server that cannot be reached, and one that is no WebSocket", async (t) => {
    const http = createServer((_, response) => response.writeHead(403).end());
    http.listen(0, "127.0.0.1");
    await once(http, "listening");
    const { port } = /** @type {import("node:net").AddressInfo} */ (http.address());
    const url = () => `ws://127.0.0.1:${port}/`;
    const { client, until, wait } = await begin(t, { url });
    assert.match((await until("waiting")).reason?.message ?? "", /403/);
    await new Promise((resolve) => http.close(resolve));
    wait();
    assert.match((await until("waiting")).reason?.message ?? "", /ECONNREFUSED/);
    assert.equal(client.state, "waiting");
  });

  it("gives an attempt up that takes too long, and makes another", async (t) => {
    const silent = createServer().on("upgrade", () => {});
    silent.listen(0, "127.0.0.1");
    await once(silent, "listening");
    t.after(() => silent.close());
    const { port } = /** @type {import("node:net").AddressInfo} */ (silent.address());
    const { server, clock, until, wait } = await begin(t, {
      url: (/** @type {string} */ url) => {
        const urls = [`ws://127.0.0.1:${port}/`, url];
        return () => urls.shift();
      },
      openTimeout: 3000,
    });
    const upgrade = once(silent, "upgrade");
    await upgrade;
    clock.pass(3000);
    const { reason } = await until("waiting");
    assert.equal(reason?.message, "the connection is closed (1006, no connection within 3000 ms)");
    wait();
    await server.accept();
    await until("open");
  });

  it("hurries when it is told to", async (t) => {
    const { client, clock, lose, server, until } = await open(t);
    await lose();
    client.hurry();
    assert.equal(client.status.retryIn, 0);
    clock.pass(0);
    await server.accept();
    await until("open");
  });

  it("asks, being open, whether the server is there when it is told to hurry", async (t) => {
    const { client, peer } = await open(t);
    client.hurry();
    client.hurry();
    assert.deepEqual(await peer.next(), { id: 1, method: "rpc.ping", payload: {} });
    client.notify("marker");
    assert.equal((await peer.next()).method, "marker");
  });
});

describe("an attempt that comes to nothing", () => {
  it("is told of when the client is returned, and not before", async () => {
    class Forbidden {
      constructor() {
        throw new Error("insecure");
      }
    }
    /** @type {Mailbox<unknown>} */
    const told = new Mailbox();
    const client = connect("ws://example.com/", {
      WebSocket: /** @type {any} */ (Forbidden),
      onstate: ({ state }) => told.put([state, client.state]),
    });
    assert.equal(client.state, "connecting");
    assert.deepEqual(await told.next(), ["waiting", "waiting"]);
    assert.match(client.status.reason?.message ?? "", /insecure/);
    await client.close();
    assert.deepEqual(await told.next(), ["closed", "closed"]);
  });

  it("is told of as one that was made, where the URL's function throws at once", async () => {
    /** @type {Mailbox<unknown>} */
    const told = new Mailbox();
    const clock = new Clock();
    const url = () => {
      throw new Error("no token");
    };
    const client = connect(url, { WebSocket, clock, onstate: ({ state }) => told.put([state, client.state]) });
    assert.deepEqual(await told.next(), ["waiting", "waiting"]);
    clock.pass(client.status.retryIn ?? 0);
    assert.deepEqual(await told.next(), ["connecting", "connecting"]);
    assert.deepEqual(await told.next(), ["waiting", "waiting"]);
    await client.close();
  });

  it("is not even made by a client that is closed at once", async () => {
    let asked = 0;
    class Counted extends WebSocket {
      /** @param {any} url @param {any} protocols */
      constructor(url, protocols) {
        super(url, protocols);
        asked++;
      }
    }
    await connect("ws://127.0.0.1:9/", { WebSocket: Counted }).close();
    assert.equal(asked, 0);
  });

  it("leaves no timer behind, though a subscription was to be renewed by it", async (t) => {
    const { client, clock, peer, until, server } = await open(t);
    client.subscribe("c");
    await peer.answer({ subscribed: {} });
    peer.cut();
    await until("waiting");
    /** @type {number[]} */
    const timers = [];
    for (let i = 0; i < 10; i++) {
      clock.pass(client.status.retryIn ?? 0);
      const next = await server.accept();
      await until("open");
      assert.equal((await next.next()).method, "subscribe");
      timers.push(clock.timers);
      next.cut();
      await until("waiting");
    }
    assert.equal(timers.at(-1), timers[0]);
  });
});

describe("the URL", () => {
  it("may be a function that is called before each attempt", async (t) => {
    let token = 0;
    const { peer, lose, back } = await open(t, { url: (/** @type {string} */ url) => () => `${url}?token=${++token}` });
    assert.equal(peer.path, "/stream?token=1");
    await lose();
    assert.equal((await back()).path, "/stream?token=2");
  });

  it("may be a function that takes its time", async (t) => {
    const { peer } = await open(t, { url: (/** @type {string} */ url) => async () => new URL(`${url}?token=a`) });
    assert.equal(peer.path, "/stream?token=a");
  });

  it("that a function fails to make is an attempt that failed", async (t) => {
    let times = 0;
    const fault = new Error("no token");
    const make = (/** @type {string} */ url) => () => {
      if (times++ === 0) throw fault;
      return times === 2 ? Promise.reject(fault) : times === 3 ? "nonsense" : url;
    };
    const { client, wait, until, server } = await begin(t, { url: make });
    for (let i = 0; i < 3; i++) {
      const { reason } = await until("waiting");
      assert.ok(reason instanceof ConnectionClosed);
      assert.ok(reason.cause instanceof Error);
      if (i < 2) assert.equal(reason.cause, fault);
      wait();
    }
    await server.accept();
    await client.opened();
  });

  it("that comes when its attempt was given up is not used", async (t) => {
    /** @type {Mailbox<(url: string) => void>} */
    const asked = new Mailbox();
    const { clock, until, server, client, wait } = await begin(t, {
      url: (/** @type {string} */ url) => {
        return () => new Promise((resolve, reject) => asked.put((path) => (path ? resolve(url + path) : reject(new Error("late")))));
      },
    });
    const first = await asked.next();
    clock.pass(10_000);
    await until("waiting");
    first("?late");
    wait();
    const second = await asked.next();
    clock.pass(10_000);
    await until("waiting");
    second("");
    wait();
    (await asked.next())("?now");
    assert.equal((await server.accept()).path, "/stream?now");
    await client.opened();
  });

  it("may have a fragment, as that of a page does, which a WebSocket does not take", async (t) => {
    const { peer } = await open(t, { url: (/** @type {string} */ url) => `${url}#top` });
    assert.equal(peer.path, "/stream");
  });

  it("may be that of HTTP, and is then that of a WebSocket there", async (t) => {
    const { peer } = await open(t, { url: (/** @type {string} */ url) => new URL(url.replace("ws:", "http:")) });
    assert.equal(peer.path, "/stream");
  });

  it("that is none is told to the caller", () => {
    assert.throws(() => connect("nonsense", { WebSocket }), TypeError);
    assert.throws(() => connect("ftp://example.com/", { WebSocket }), /no URL of a WebSocket: write ws:/);
  });

  it("is nothing without a WebSocket", () => {
    const was = globalThis.WebSocket;
    delete page.WebSocket; // Node.js 20 has none
    assert.throws(() => connect("ws://127.0.0.1:1/"), /there is no WebSocket here: pass one/);
    if (was) globalThis.WebSocket = was;
  });

  it("is opened by the global WebSocket where none is passed", async (t) => {
    const server = await serve(t);
    const was = globalThis.WebSocket;
    page.WebSocket = WebSocket;
    t.after(() => void (globalThis.WebSocket = was));
    const client = connect(server.url);
    t.after(() => client.close());
    await server.accept();
    await client.opened();
  });
});

describe("closing", () => {
  it("tells the server, and ends when it knows", async (t) => {
    const { client, peer, clock } = await open(t);
    await client.close(4321, "bye");
    assert.deepEqual(await peer.closed, [4321, "bye"]);
    assert.equal(client.state, "closed");
    assert.equal(client.closed?.code, 4321);
    assert.equal(clock.timers, 0);
    await client.close();
    assert.equal(client.closed?.code, 4321);
  });

  it("twice ends as the first does", async (t) => {
    const { client, peer, clock } = await open(t);
    peer.socket.pause();
    let ends = 0;
    const closings = [client.close(), client.close(4000)].map((each) => each.then(() => ends++));
    await setImmediate();
    assert.equal(ends, 0);
    clock.pass(5000);
    await Promise.all(closings);
    assert.equal(client.closed?.code, 1000);
  });

  it("does not wait for ever for a server that says nothing", async (t) => {
    const { client, peer, clock } = await open(t);
    peer.socket.pause();
    const closing = client.close();
    clock.pass(5000);
    await closing;
    assert.equal(client.state, "closed");
  });

  it("ends a client that waits", async (t) => {
    const { client, lose, clock } = await open(t);
    await lose();
    await client.close();
    assert.equal(client.state, "closed");
    assert.equal(clock.timers, 0);
  });

  it("ends a client that connects, and who waits for that is told", async (t) => {
    const { client, clock } = await begin(t);
    const opened = refusal(client.opened());
    const closing = client.close();
    assert.equal((await opened).code, 1000);
    clock.pass(5000);
    await closing;
    assert.equal(clock.timers, 0);
  });

  it("ends at once a client that connects by a WebSocket that never says that it has ended", async (t) => {
    /** As Node.js 20 has it, behind a flag. */
    class Mute {
      static closed = 0;
      bufferedAmount = 0;
      readyState = 0;
      onopen = null;
      onmessage = null;
      onerror = null;
      onclose = null;
      send() {}
      close() {
        Mute.closed++;
      }
    }
    const { client, clock } = await begin(t, { WebSocket: Mute });
    await client.close();
    assert.equal(Mute.closed, 1);
    assert.equal(clock.timers, 0);
  });

  it("with what cannot be said is refused, and changes nothing", async (t) => {
    const { client } = await open(t);
    await assert.rejects(client.close(1001), RangeError);
    await assert.rejects(client.close(5000), RangeError);
    await assert.rejects(client.close(1000, "é".repeat(62)), RangeError);
    assert.equal(client.state, "open");
  });
});

describe("a callback that throws", () => {
  it("is reported, and harms nothing else", async (t) => {
    const fault = new Error("onstate");
    /** @type {Mailbox<unknown>} */
    const reported = new Mailbox();
    reporting(t, (error) => reported.put(error));
    const { client, server } = await begin(t, {
      onstate({ state }) {
        if (state === "open") throw fault;
      },
    });
    const peer = await server.accept();
    await client.opened();
    assert.equal(await reported.next(), fault);
    const answer = client.call("echo");
    await peer.answer({ a: 1 });
    assert.deepEqual(await answer, { a: 1 });
  });

  it("is thrown where nothing reports, behind what goes on", async (t) => {
    const fault = new Error("onstate");
    /** @type {Mailbox<() => void>} */
    const later = new Mailbox();
    t.mock.method(globalThis, "queueMicrotask", (/** @type {() => void} */ task) => later.put(task));
    const { client, server } = await begin(t, {
      onstate({ state }) {
        if (state === "open") throw fault;
      },
    });
    await server.accept();
    await client.opened();
    assert.throws(await later.next(), fault);
  });
});
