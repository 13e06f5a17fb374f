// Chromium, and pages in it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const FINDER = fileURLToPath(new URL("../../../../tools/chromium", import.meta.url));

/** Milliseconds within which whatever is waited for must have happened. */
export const PATIENCE = 25_000;

/** @typedef {import("playwright-core").Browser} Browser */

/** @returns {Promise<Browser>} */
export function launch() {
  const executablePath = execFileSync(FINDER, { encoding: "utf8" }).trim();
  // root has no sandbox, and in containers the shared memory is too small
  const args = ["--no-sandbox", "--disable-dev-shm-usage"];
  // playwright has it keep no page that was left, as everybody's does
  return chromium.launch({ executablePath, args, ignoreDefaultArgs: ["--disable-back-forward-cache"] });
}

/**
 * A tab of the one window of the browser, for tests of what is in front and what is hidden.
 *
 * It is led without playwright, which has the browser believe that each of its pages is in front.
 */
export class Tab {
  /**
   * @param {import("playwright-core").CDPSession} browser
   * @param {string} targetId
   * @param {string} sessionId
   */
  constructor(browser, targetId, sessionId) {
    this.browser = browser;
    this.targetId = targetId;
    this.sessionId = sessionId;
    this.sent = 0;
    /** @type {Map<number, (answer: any) => void>} */
    this.answers = new Map();
    browser.on("Target.receivedMessageFromTarget", (event) => {
      const { id, ...answer } = JSON.parse(event.message);
      if (event.sessionId === sessionId) this.answers.get(id)?.(answer);
    });
  }

  /**
   * Open an empty tab.
   *
   * @param {Browser} browser
   */
  static async open(browser) {
    const session = await browser.newBrowserCDPSession();
    const { targetId } = await session.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await session.send("Target.attachToTarget", { targetId, flatten: false });
    const tab = new Tab(session, targetId, sessionId);
    await tab.waitForFunction(`document.readyState === "complete"`);
    return tab;
  }

  /** @param {string} url */
  async goto(url) {
    await this.#send("Page.navigate", { url });
  }

  /** Go back to the page before. */
  async back() {
    const { currentIndex, entries } = await this.#send("Page.getNavigationHistory");
    await this.#send("Page.navigateToHistoryEntry", { entryId: entries[currentIndex - 1].id });
  }

  /**
   * What an expression is in the page, or comes to if it is a promise.
   *
   * @param {string} expression
   * @returns {Promise<any>}
   */
  async evaluate(expression) {
    const how = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.#send("Runtime.evaluate", how);
    assert.equal(exceptionDetails, undefined, exceptionDetails?.exception?.description);
    return result.value;
  }

  /**
   * Wait until an expression is true in the page.
   *
   * @param {string} expression
   */
  async waitForFunction(expression) {
    assert.ok(await this.becomes(expression, PATIENCE), `it is never so that ${expression}`);
  }

  /**
   * Whether an expression becomes true in the page, which looks itself from time to time.
   *
   * @param {string} expression
   * @param {number} patience milliseconds
   * @returns {Promise<boolean>}
   */
  becomes(expression, patience) {
    return this.evaluate(`new Promise((resolve) => {
      const deadline = Date.now() + ${patience};
      const look = () => {
        const is = Boolean(${expression});
        if (is || Date.now() > deadline) resolve(is);
        else setTimeout(look, 20);
      };
      look();
    })`);
  }

  /**
   * Bring it to the front of another tab, which is hidden then.
   *
   * A browser that is busy may have a tab in front and not show it, until there is a change again.
   *
   * @param {Tab} other
   */
  async inFrontOf(other) {
    const deadline = Date.now() + PATIENCE;
    for (;;) {
      await this.#activate();
      const shown = await this.becomes(`document.visibilityState === "visible"`, PATIENCE / 5);
      if (shown && (await other.becomes(`document.visibilityState === "hidden"`, PATIENCE))) return;
      assert.ok(Date.now() < deadline, "the browser brings no tab to the front");
      await other.#activate();
    }
  }

  async #activate() {
    await this.browser.send("Target.activateTarget", { targetId: this.targetId });
  }

  /** @param {{ path: string }} options where its picture goes to */
  async screenshot({ path }) {
    const { data } = await this.#send("Page.captureScreenshot");
    writeFileSync(path, Buffer.from(data, "base64"));
  }

  async close() {
    await this.browser.send("Target.closeTarget", { targetId: this.targetId });
  }

  /**
   * @param {string} method
   * @param {object} [params]
   * @returns {Promise<any>}
   */
  async #send(method, params = {}) {
    const id = ++this.sent;
    /** @type {Promise<any>} */
    const answered = new Promise((resolve) => this.answers.set(id, resolve));
    const message = JSON.stringify({ id, method, params });
    await this.browser.send("Target.sendMessageToTarget", { sessionId: this.sessionId, message });
    const { result, error } = await answered;
    this.answers.delete(id);
    assert.equal(error, undefined, `${method}: ${error?.message}`);
    return result;
  }
}

/**
 * The page of the tests, `pages/page.html`, in a browser. What it shows is looked at from outside.
 */
export class Shown {
  /** @param {import("playwright-core").Page | Tab} page */
  constructor(page) {
    this.page = page;
  }

  /**
   * Open it, and wait until it is subscribed.
   *
   * @param {string} site
   * @param {Record<string, string | number>} [query] what the page is to do: see `pages/page.js`
   */
  async open(site, query = {}) {
    await this.goto(site, query);
    await this.until(`document.querySelector("#subscription").value === "open"`);
    await this.page.evaluate(`window.isTheSamePage = true`);
  }

  /**
   * @param {string} site
   * @param {Record<string, string | number>} query
   */
  async goto(site, query) {
    const given = Object.entries(query).map(([name, value]) => [name, String(value)]);
    await this.page.goto(`${site}page.html?${new URLSearchParams(given)}`);
    await this.until(`window.tested`);
  }

  /**
   * Wait until an expression is true in the page.
   *
   * @param {string} expression
   */
  async until(expression) {
    await this.page.waitForFunction(expression, null, { timeout: PATIENCE });
  }

  /** @param {string} state what the page says that its client is */
  async untilIt(state) {
    await this.until(`document.querySelector("#state").value === "${state}"`);
  }

  /**
   * Wait for messages: they are these, in this order, and the page was not loaded anew for them.
   *
   * @param {number[]} expected
   */
  async shows(expected) {
    const items = `[...document.querySelectorAll("#items li")]`;
    await this.until(`${items}.length >= ${expected.length}`);
    const shown = await this.page.evaluate(`${items}.map((item) => JSON.parse(item.textContent))`);
    assert.deepEqual(shown, expected);
    assert.equal(await this.page.evaluate(`window.isTheSamePage`), true);
  }

  /** @param {string} id of an element */
  text(id) {
    return this.page.evaluate(`document.querySelector("#${id}").value`);
  }

  /** What happened to its client: see `pages/page.js`. */
  log() {
    return this.page.evaluate(`window.tested.log`);
  }

  /**
   * Have a test of it, which leaves a picture of what it looked like if it fails.
   *
   * @param {() => Promise<void>} test
   * @param {import("../worlds.js").World} site
   */
  async during(test, site) {
    try {
      await test();
    } catch (error) {
      if (error instanceof Error) {
        const picture = await this.#picture().catch(({ message }) => `it has no picture: ${message}`);
        error.message += `\n${picture}\nits server: ${await site.act("log")}`;
      }
      throw error;
    }
  }

  async #picture() {
    const path = join(mkdtempSync(join(tmpdir(), "page-")), "failed.png");
    await this.page.screenshot({ path });
    const [shown, log] = await Promise.all([
      this.page.evaluate(`document.body.innerText`),
      this.page.evaluate(`JSON.stringify(window.tested?.log)`),
    ]);
    return `the page looked like ${path}, and showed:\n${shown}\nits client: ${log}`;
  }
}
