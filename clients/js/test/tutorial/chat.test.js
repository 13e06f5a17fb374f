// The tutorial's chat in Chromium: its page, its bot, and what becomes of both when things break.
// docs/examples/chat/page/chat.js and docs/examples/chat/page/index.html are the page.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { launch, PATIENCE } from "../chromium/browser.js";
import { Folder, redis } from "./programs.js";

/** @typedef {import("node:test").TestContext} TestContext */

/** @type {import("../chromium/browser.js").Browser} */
let browser;

before(async () => {
  browser = await launch();
});

after(() => browser.close());

/** A page of the chat, in a browser of its own. */
class Window {
  /** @param {import("playwright-core").Page} page */
  constructor(page) {
    this.page = page;
  }

  /**
   * Open it. What its console calls an error fails the test, but that it cannot connect.
   *
   * @param {TestContext} t
   * @param {string} url
   */
  static async open(t, url) {
    const context = await browser.newContext();
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    /** @type {string[]} */
    const errors = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    page.on("console", (message) => {
      const text = message.text();
      if (message.type() === "error" && !/ERR_(CONNECTION_\w+|INTERNET_DISCONNECTED)/.test(text)) errors.push(text);
    });
    t.after(async () => {
      await context.close();
      assert.deepEqual(errors, []);
    });
    await page.clock.install();
    await page.goto(url);
    await page.evaluate("window.isTheSamePage = true");
    return new Window(page);
  }

  /** Wait until an element shows a text. @param {string} id @param {string | RegExp} text */
  async shows(id, text) {
    const hasText = text instanceof RegExp ? text : new RegExp(`^${text}$`);
    await this.page.locator(`#${id}`).filter({ hasText }).waitFor({ state: "attached" });
  }

  /** Wait for lines: they are these, in this order, and the page was not loaded anew. @param {...string} texts */
  async hasLines(...texts) {
    await this.page.waitForFunction((count) => document.querySelectorAll("#lines li").length >= count, texts.length);
    assert.deepEqual(await this.page.locator("#lines li").allTextContents(), texts);
    assert.equal(await this.page.evaluate("window.isTheSamePage"), true);
  }

  /** @param {string} text */
  async say(text) {
    await this.page.getByLabel("Say").fill(text);
    await this.page.getByRole("button", { name: "Send" }).click();
  }

  /** @param {boolean} isOffline as by the developer tools */
  async setOffline(isOffline) {
    await this.page.context().setOffline(isOffline);
  }
}

const TIMEOUT = { timeout: 120_000 };

describe("the chat of the tutorial", () => {
  it("is one of two pages and a bot", TIMEOUT, async (t) => {
    const folder = new Folder(t, "step3.py");
    await folder.serve();
    const alan = await Window.open(t, folder.page("?name=alan"));
    const bot = folder.bot();
    await bot.until(/^open/);
    const eve = await Window.open(t, folder.page("?name=eve"));
    for (const page of [alan, eve]) {
      await page.shows("state", "open");
      await page.shows("here", "alan, bot, eve");
    }

    const markup = `<img src="/x" onerror="window.isHarmed = true">`;
    await alan.say(markup);
    await eve.hasLines(`alan: ${markup}`);
    await eve.say("bot, how many?");
    for (const page of [alan, eve]) {
      await page.hasLines(`alan: ${markup}`, "eve: bot, how many?", "bot: 2, eve");
      assert.equal(await page.page.evaluate("window.isHarmed"), undefined);
    }
    const later = await Window.open(t, folder.page("?name=later"));
    await later.hasLines(`alan: ${markup}`, "eve: bot, how many?", "bot: 2, eve");

    const elsewhere = await Window.open(t, folder.page("?name=eve&room=garden"));
    await elsewhere.say("Nobody here?");
    await elsewhere.hasLines("eve: Nobody here?");
    await alan.say("Over here");
    await alan.hasLines(`alan: ${markup}`, "eve: bot, how many?", "bot: 2, eve", "alan: Over here");
  });

  it("misses nothing when the network is switched off and on, for moments and for longer", TIMEOUT, async (t) => {
    const folder = new Folder(t, "step3.py");
    await folder.serve();
    const alan = await Window.open(t, folder.page("?name=alan"));
    await alan.shows("state", "open");
    await folder.say("eve", "before");
    await alan.hasLines("eve: before");

    await alan.setOffline(true);
    await folder.say("eve", "soon");
    await alan.say("soon, too");
    await alan.shows("note", "Sending …");
    await alan.hasLines("eve: before");
    await alan.setOffline(false);
    await alan.hasLines("eve: before", "eve: soon", "alan: soon, too");
    await alan.shows("note", "");

    await alan.setOffline(true);
    await folder.say("eve", "one");
    await folder.say("eve", "two");
    await alan.page.clock.runFor(26_000);
    await alan.page.clock.runFor(12_000);
    await alan.shows("state", /^lost, next attempt within \d+ s$/);
    await alan.say("from alan");
    await alan.shows("note", "Sending …");
    await alan.hasLines("eve: before", "eve: soon", "alan: soon, too");

    await alan.setOffline(false);
    await alan.shows("state", "open");
    const all = ["eve: before", "eve: soon", "alan: soon, too", "eve: one", "eve: two", "alan: from alan"];
    await alan.hasLines(...all);
    await alan.shows("note", "");
  });

  it("says that messages are lost with the server that kept them in memory", TIMEOUT, async (t) => {
    const folder = new Folder(t, "step3.py");
    await folder.serve();
    const bot = folder.bot();
    await bot.until(/^open/);
    const alan = await Window.open(t, folder.page("?name=alan"));
    await alan.say("This will be forgotten.");
    await alan.hasLines("alan: This will be forgotten.");

    const eve = await Window.open(t, folder.page("?name=eve"));
    await eve.hasLines("alan: This will be forgotten.");

    await folder.kill();
    for (const page of [alan, eve]) await page.shows("state", /^lost, next attempt within \d+ s$/);
    await bot.until(/^waiting /);
    await alan.say("meanwhile");
    await alan.shows("note", "Sending …");
    await folder.serve();
    await bot.until(/^open/);
    await bot.until(/^messages were lost: counting anew$/);
    const loss = "Messages were lost. This is what is kept.";
    for (const page of [alan, eve]) {
      await page.hasLines(loss, "alan: meanwhile");
      await page.shows("here", "alan, bot, eve");
    }
    await eve.say("Hello again");
    for (const page of [alan, eve]) await page.hasLines(loss, "alan: meanwhile", "eve: Hello again");
  });

  it("misses nothing when the server is stopped, or killed, if Redis keeps the messages", TIMEOUT, async (t) => {
    const broker = await redis(t);
    const folder = new Folder(t, "step4.py");
    await folder.serve({ BROKER: broker });
    const bot = folder.bot();
    await bot.until(/^open/);
    const alan = await Window.open(t, folder.page("?name=alan"));
    const eve = await Window.open(t, folder.page("?name=eve"));
    await eve.shows("state", "open");
    await alan.say("before");
    const lines = ["alan: before"];
    for (const page of [alan, eve]) await page.hasLines(...lines);

    let count = 1;
    for (const end of /** @type {const} */ (["interrupt", "kill"])) {
      await folder[end]();
      await alan.shows("state", /^lost, next attempt within \d+ s$/);
      const publish = ["publish", "--broker", broker, "--app", "chat.py:create_app", "room:lobby", "said"];
      await folder.run("openapi", ...publish, `{"name": "deploy", "text": "It is to ${end}"}`);
      await alan.say("bot, how many?");
      await alan.shows("note", "Sending …");

      await folder.serve({ BROKER: broker });
      count += 2;
      lines.push(`deploy: It is to ${end}`, "alan: bot, how many?", `bot: ${count}, alan`);
      for (const page of [alan, eve]) {
        await page.hasLines(...lines);
        await page.shows("note", "");
      }
    }
    await folder.kill(); // before Redis is
  });

  it("has a room that is not everybody's", TIMEOUT, async (t) => {
    const folder = new Folder(t, "step5.py");
    await folder.serve();
    const nobody = await Window.open(t, folder.page(""));
    await nobody.shows("state", "closed: Say who you are: \\?name=…");
    const eve = await Window.open(t, folder.page("?name=eve&room=staff"));
    await eve.shows("note", /^Nothing comes any more: Not allowed/);
    await eve.say("Let me in");
    await eve.shows("note", "Not sent: You may not speak in staff");
    const liar = await Window.open(t, folder.page("?name=ada&room=staff"));
    await liar.shows("state", "closed: This name needs its secret");

    const ada = await Window.open(t, folder.page("?name=ada&secret=1815&room=staff"));
    const grace = await Window.open(t, folder.page("?name=grace&secret=1906&room=staff"));
    await ada.shows("here", "ada, grace");
    await grace.say("Hello");
    await ada.hasLines("grace: Hello");
    assert.deepEqual(await eve.page.locator("#lines li").allTextContents(), []);
  });
});
