// What a browser says of its network and of the page. The browser itself is in `chromium`.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { open, begin, settled } from "./stage.js";

/** A page, as far as a client knows one. */
function page() {
  const document = Object.assign(new EventTarget(), { visibilityState: "visible", baseURI: "http://example.com/page/" });
  const windows = new EventTarget();
  const navigator = { onLine: true };
  /** @type {Record<string, any>} */
  const known = {
    document,
    navigator,
    addEventListener: windows.addEventListener.bind(windows),
    removeEventListener: windows.removeEventListener.bind(windows),
  };
  // They stay until the next page: clients are closed behind all else.
  for (const [name, value] of Object.entries(known)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  return {
    hide() {
      document.visibilityState = "hidden";
      document.dispatchEvent(new Event("visibilitychange"));
    },
    show() {
      document.visibilityState = "visible";
      document.dispatchEvent(new Event("visibilitychange"));
    },
    /** @param {boolean} is */
    network(is) {
      navigator.onLine = is;
      windows.dispatchEvent(new Event(is ? "online" : "offline"));
    },
  };
}

describe("in a page, a client", () => {
  it("comes back at once when the page is shown", async (t) => {
    const { hide, show } = page();
    const { client, clock, lose, server } = await open(t, { first: 600_000, cap: 600_000 });
    await lose();
    hide();
    assert.equal(client.status.retryIn, 300_000);
    show();
    clock.pass(0);
    await server.accept();
    await client.opened();
  });

  it("comes back at once when the network does", async (t) => {
    const { network } = page();
    const { client, clock, lose, server } = await open(t, { first: 600_000, cap: 600_000 });
    await lose();
    network(false);
    network(true);
    clock.pass(0);
    await server.accept();
    await client.opened();
  });

  it("makes no attempt while there is no network, and one when there is", async (t) => {
    const { network } = page();
    const { client, clock, lose, server } = await open(t);
    await lose();
    network(false);
    clock.pass(1_000_000);
    assert.deepEqual({ ...client.status, reason: 0 }, { state: "waiting", reason: 0, retryIn: 0 });
    network(true);
    clock.pass(0);
    await server.accept();
    await client.opened();
  });

  it("does not even begin without a network", async (t) => {
    const { network } = page();
    network(false);
    const { client, clock, server, until } = await begin(t);
    assert.equal(client.state, "connecting"); // it has just been returned: nothing is told before
    clock.pass(0);
    await until("waiting");
    assert.match(client.status.reason?.message ?? "", /there is no network/);
    clock.pass(1_000_000);
    network(true);
    clock.pass(0);
    await server.accept();
    await client.opened();
  });

  it("that is to move waits for the network with it", async (t) => {
    const { network } = page();
    const { clock, peer, server, until } = await open(t);
    network(false);
    peer.send({ event: "$reconnect", data: { after: 100, code: 1012 } });
    await until("open");
    clock.pass(1000);
    network(true);
    clock.pass(0);
    await server.accept();
    assert.equal((await peer.answer(null)).method, "rpc.ping");
    assert.deepEqual(await peer.closed, [1000, "moved"]);
  });

  it("asks whether the server is there when the page is shown, or the network is back", async (t) => {
    const { hide, show, network } = page();
    const { client, peer } = await open(t);
    hide();
    await settled(client, peer);
    show();
    assert.equal((await peer.answer(null)).method, "rpc.ping");
    await settled(client, peer);
    network(false);
    network(true);
    assert.equal((await peer.answer(null)).method, "rpc.ping");
  });

  it("that was closed hears nothing any more", async (t) => {
    const { hide, show, network } = page();
    const { client, clock } = await open(t);
    await client.close();
    hide();
    show();
    network(true);
    client.hurry();
    assert.equal(clock.timers, 0);
    assert.equal(client.state, "closed");
  });

  it("connects to a URL that is relative to the page", async (t) => {
    page();
    /** @type {string[]} */
    const urls = [];
    const WebSocket = /** @type {any} */ (
      class {
        bufferedAmount = 0;
        /** @param {string} url */
        constructor(url) {
          urls.push(url);
        }
        close() {}
      }
    );
    for (const url of ["/stream", "stream", "https://example.com/stream"]) {
      const { client, clock } = await begin(t, { WebSocket, url: () => url });
      const closing = client.close();
      clock.pass(5000);
      await closing;
    }
    assert.deepEqual(urls, ["ws://example.com/stream", "ws://example.com/page/stream", "wss://example.com/stream"]);
  });
});
