// Servers for the tests, made on demand by a process of Python: `tests/worlds`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const PYTHON = `${ROOT}.venv/bin/python`;

/** All worlds of one test file. Their process ends with this one, whatever becomes of it. */
export class Worlds {
  /**
   * @param {import("node:child_process").ChildProcess} process
   * @param {string} url
   */
  constructor(process, url) {
    this.process = process;
    this.url = url;
  }

  /** @returns {Promise<Worlds>} */
  static async start() {
    assert.ok(existsSync(PYTHON), `${PYTHON} is not there: run the tests by \`make test\``);
    const process = spawn(PYTHON, ["-m", "tests.worlds"], {
      cwd: ROOT,
      stdio: ["pipe", "pipe", "inherit"],
    });
    for await (const port of createInterface({ input: process.stdout })) {
      return new Worlds(process, `http://127.0.0.1:${port}/worlds`);
    }
    throw new Error("the process of the worlds has ended before it said its port");
  }

  /**
   * Make one.
   *
   * @param {"conversation" | "site"} kind
   */
  async open(kind) {
    const { id, url } = await post(this.url, "POST", { kind });
    return new World(`${this.url}/${id}`, url);
  }

  /** End all of them. */
  async stop() {
    const ended = new Promise((resolve) => this.process.once("exit", resolve));
    this.process.stdin?.end();
    assert.equal(await ended, 0, "the process of the worlds has failed");
  }
}

/** One server, at `url`. */
export class World {
  /**
   * @param {string} control
   * @param {string} url
   */
  constructor(control, url) {
    this.control = control;
    this.url = url;
  }

  /**
   * Do something to it: `tests/worlds` says what can be done.
   *
   * @param {string} action
   * @param {unknown} [argument]
   */
  act(action, argument = null) {
    return post(`${this.control}/${encodeURIComponent(action)}`, "POST", argument);
  }

  /** End it. */
  close() {
    return post(this.control, "DELETE", null);
  }
}

/**
 * @param {string} url
 * @param {string} method
 * @param {unknown} argument
 * @returns {Promise<any>}
 */
async function post(url, method, argument) {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(url, { method, headers, body: JSON.stringify(argument) });
  assert.equal(answer.status, 200, `${method} ${url}: ${answer.status}`);
  return answer.json();
}
