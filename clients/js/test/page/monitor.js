// The demo, as `make run` serves it, and the network in front of it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));
const HOST = "127.0.0.1";

/** Ports below those of outgoing connections: one of these may take that of a server that is away. */
const [FIRST, PORTS] = [15_000, 15_000];

/** The server: a process, which can be killed and started again at its port. */
export class Monitor {
  /** @type {import("node:child_process").ChildProcess | null} */
  #process = null;
  #last = () => void this.#process?.kill("SIGKILL");

  /** @param {number} port */
  constructor(port) {
    this.port = port;
    process.once("exit", this.#last);
  }

  /** One that runs. */
  static async start() {
    const monitor = new Monitor(await freePort());
    await monitor.start();
    return monitor;
  }

  get url() {
    return `http://${HOST}:${this.port}/`;
  }

  async start() {
    const command = ["serve", "examples/monitor.py:create_app", "--host", HOST, "--port", String(this.port), "--quiet"];
    const { MONITOR_LOGS: _, ...env } = process.env;
    const server = spawn(`${ROOT}.venv/bin/openapi`, command, { cwd: ROOT, env, stdio: ["ignore", "pipe", "inherit"] });
    this.#process = server;
    for await (const line of createInterface({ input: server.stdout })) {
      assert.equal(JSON.parse(line).url, this.url.slice(0, -1));
      return;
    }
    throw new Error(`the monitor ended before it served: ${server.exitCode}`);
  }

  /** It is gone at once, and says nothing. */
  async kill() {
    const server = this.#process;
    assert.ok(server);
    const gone = once(server, "exit");
    server.kill("SIGKILL");
    await gone;
  }

  async stop() {
    process.off("exit", this.#last);
    if (this.#process?.exitCode === null && this.#process.signalCode === null) await this.kill();
  }
}

/** A relay in front of a server, whose connections can be reset. */
export class Relay {
  /** @type {Set<import("node:net").Socket>} */
  #ends = new Set();
  #isAway = false;
  #server;

  /** @param {number} target a port */
  constructor(target) {
    this.#server = createServer((near) => {
      if (this.#isAway) {
        near.resetAndDestroy();
        return;
      }
      const far = connect(target, HOST);
      for (const [end, other] of /** @type {const} */ ([
        [near, far],
        [far, near],
      ])) {
        this.#ends.add(end);
        end.on("error", () => {}); // it was cut
        end.on("close", () => {
          this.#ends.delete(end);
          other.destroy();
        });
        end.pipe(other);
      }
    });
  }

  /** @returns {Promise<string>} the URL that it is found at */
  async start() {
    this.#server.listen(0, HOST);
    await once(this.#server, "listening");
    const { port } = /** @type {import("node:net").AddressInfo} */ (this.#server.address());
    return `http://${HOST}:${port}/`;
  }

  /**
   * Reset all connections, and those that come until something is done.
   *
   * @param {() => Promise<unknown>} task
   */
  async away(task) {
    this.#isAway = true;
    this.cut();
    await task();
    this.#isAway = false;
  }

  /** Reset all connections. New ones are carried. */
  cut() {
    for (const end of this.#ends) end.resetAndDestroy();
  }

  async stop() {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.cut();
    await closed;
  }
}

/** @returns {Promise<number>} */
async function freePort() {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * PORTS);
    const server = createServer();
    server.listen(port, HOST);
    const [event] = await Promise.race([
      once(server, "listening").then(() => ["listening"]),
      once(server, "error").then(() => ["error"]),
    ]).catch(() => ["error"]);
    if (event !== "listening") continue;
    const closed = once(server, "close");
    server.close();
    await closed;
    return port;
  }
}
