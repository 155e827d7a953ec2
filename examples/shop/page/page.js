"use strict";

const SHELF = ["lamp", "vase", "rug", "chair", "clock"];

// How often a request is repeated without asking, and how long the first pause is, in milliseconds: each is twice the one before.
const ATTEMPTS = 6;
const PAUSE = 250;
const PATIENCE = 20_000;

const $ = (id) => document.getElementById(id);

// The changes that nobody has answered for yet, each with its idempotency key. A reload finds them here and sends them again under that key:
// so they are made once, whatever became of the first attempt.
const pending = JSON.parse(sessionStorage.getItem("pending")) ?? [];
const instances = JSON.parse(sessionStorage.getItem("instances")) ?? [];
const otherTabs = new BroadcastChannel("shop");

let cart = {};
let known = false;
let running = false;
let again = false;

/** What the shop did not do, and why: repeating the request would not help. */
class Refused extends Error {}

/** One request, sent until it is answered or there is no sense in waiting longer. */
async function send(method, path, { key, body } = {}) {
  const headers = {};
  if (key) headers["Idempotency-Key"] = key;
  if (body) headers["Content-Type"] = "application/json";
  let problem;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (attempt > 0) {
      news("No answer yet: trying again. Nothing is done twice.");
      await new Promise((resolve) => setTimeout(resolve, PAUSE * 2 ** (attempt - 1)));
    }
    let response, answer;
    try {
      const signal = AbortSignal.timeout(PATIENCE);
      response = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal });
      answer = await response.text();
    } catch {
      problem = "The shop does not answer.";
      continue;
    }
    answeredBy(response.headers.get("Shop-Instance"));
    const json = response.headers.get("Content-Type")?.includes("json") ? JSON.parse(answer) : {};
    if (response.ok) return { json, version: response.headers.get("ETag") };
    problem = `The shop says: ${json.title ?? `error ${response.status}`}.`;
    if (response.status < 500) throw new Refused(problem);
  }
  throw new Error(problem);
}

/** Makes the pending changes, in their order, and shows what is there then. */
async function run() {
  if (running) {
    again = true;
    return;
  }
  running = true;
  again = false;
  show();
  try {
    await beKnown();
    const changes = pending.length;
    while (pending.length > 0) {
      const { key, method, path, body, done } = pending[0];
      try {
        await send(method, path, { key, body });
        news(done);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        news(error.message);
      }
      pending.shift();
      save();
    }
    await look();
    if (changes > 0) otherTabs.postMessage("changed");
    $("trouble").hidden = true;
  } catch (error) {
    news("");
    const kept = pending.length > 0 ? " Your change is kept, and is made once, however often you try." : "";
    $("problem").textContent = error.message + kept;
    $("trouble").hidden = false;
  }
  running = false;
  show();
  if (again) run();
}

/** Becomes a visitor whom the shop knows. Of several tabs, one asks at a time: else each might become one of its own. */
async function beKnown() {
  if (known) return;
  await navigator.locks.request("visitor", () => send("POST", "session"));
  known = true;
}

async function look() {
  // One after the other: two at once may be answered by two instances, and a cloud would start a second one for it.
  const now = await send("GET", "cart");
  const past = await send("GET", "orders");
  cart = now.json.items;
  $("version").textContent = now.version?.replaceAll('"', "") ?? "none yet";
  $("version").title = $("version").textContent;
  const orders = past.json.orders.toReversed().map(({ number, items }) => {
    const things = Object.entries(items).map(([item, quantity]) => `${quantity} × ${item}`);
    return row([text(things.join(", ")), text(`No. ${number}`, "quantity")]);
  });
  $("orders").replaceChildren(...orders);
  $("none").hidden = orders.length > 0;
}

function change(method, path, done, body) {
  pending.push({ key: crypto.randomUUID(), method, path, done, body });
  save();
  run();
}

function save() {
  sessionStorage.setItem("pending", JSON.stringify(pending));
}

function answeredBy(instance) {
  if (!instance) return;
  const before = instances.at(-1);
  if (instance !== before) {
    instances.push(instance);
    sessionStorage.setItem("instances", JSON.stringify(instances));
  }
  if (before && instance !== before) {
    news(`Another instance has taken over: ${instance} after ${before}. Your cart is the same.`, true);
  }
  $("instance").textContent = instance;
  $("instances").textContent = new Set(instances).size;
}

/** A takeover stays on the page until the visitor does something else. */
function news(message, takeover = false) {
  if ($("news").className && !takeover) return;
  $("news").textContent = message;
  $("news").className = takeover ? "takeover" : "";
}

function show() {
  const items = Object.entries(cart).map(([item, quantity]) =>
    row([text(item), text(`× ${quantity}`, "quantity"), button("Remove", `Remove the ${item}`, () => remove(item))]));
  $("cart").replaceChildren(...items);
  $("empty").hidden = items.length > 0;
  $("order").disabled = items.length === 0 || running || pending.length > 0;
}

function row(parts) {
  const row = document.createElement("li");
  row.append(...parts);
  return row;
}

function text(content, className = "") {
  const span = document.createElement("span");
  span.textContent = content;
  span.className = className;
  return span;
}

function button(label, name, action) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.setAttribute("aria-label", name);
  button.addEventListener("click", () => {
    $("news").className = "";
    action();
  });
  return button;
}

const add = (item) => change("POST", "cart/items", `The ${item} is in your cart.`, { item });
const remove = (item) => change("DELETE", `cart/items/${encodeURIComponent(item)}`, `The ${item} is out of your cart.`);

$("shelf").append(...SHELF.map((item) => row([text(item), button("Add", `Add a ${item}`, () => add(item))])));
$("order").addEventListener("click", () => {
  $("news").className = "";
  // What is ordered is what is shown, and nothing that another tab has added meanwhile.
  change("POST", "orders", "Your order is placed.", { items: cart });
});
$("retry").addEventListener("click", run);
otherTabs.addEventListener("message", run);
document.addEventListener("visibilitychange", () => document.hidden || run());
run();
