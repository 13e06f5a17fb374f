// A page that shows what is published on `news`. Its query says how it connects:
//
//   path     the endpoint: stream, or members, which wants a token
//   token    the token to be used each time; without, a new one is fetched before each attempt
//   jitter   what the client's dice say, from 0 to 1, instead of chance
//   first, cap, stable, heartbeat    options of the client, in milliseconds

import { connect } from "/openapi.js";

const query = new URLSearchParams(location.search);
const path = query.get("path") ?? "stream";

/** What happened, for the test. */
const log = { attempts: 0, tokens: [], states: [], codes: [], renewed: [], seen: [] };
document.addEventListener("visibilitychange", () => log.seen.push(document.visibilityState));

async function freshToken() {
  if (query.has("token")) return query.get("token");
  const response = await fetch("/token", { method: "POST" });
  return response.json();
}

async function url() {
  const target = new URL(path, location.href.replace(/^http/, "ws"));
  if (path === "members") {
    const token = await freshToken();
    log.tokens.push(token);
    target.searchParams.set("token", token);
  }
  return target;
}

class CountedWebSocket extends WebSocket {
  constructor(...given) {
    super(...given);
    log.attempts++;
  }
}

const options = Object.fromEntries(
  ["first", "cap", "stable", "heartbeat"]
    .filter((name) => query.has(name))
    .map((name) => [name, Number(query.get(name))]),
);

const client = connect(url, {
  ...options,
  WebSocket: CountedWebSocket,
  onstate({ state, reason }) {
    log.states.push(state);
    if (reason?.code) log.codes.push(reason.code);
    document.querySelector("#state").value = state;
    document.querySelector("#reason").value = reason?.message ?? "";
  },
});
window.tested = { client, log };

const news = client.subscribe("news", {
  event: "item",
  onrenewed: (renewed) => log.renewed.push(renewed.recovered),
});
const subscription = document.querySelector("#subscription");
news.opened().then(
  () => (subscription.value = "open"),
  (error) => (subscription.value = error.message),
);
try {
  for await (const { data } of news) {
    const item = document.createElement("li");
    item.textContent = JSON.stringify(data);
    document.querySelector("#items").append(item);
  }
} catch (error) {
  subscription.value = `${error.name}: ${error.message}`;
}
