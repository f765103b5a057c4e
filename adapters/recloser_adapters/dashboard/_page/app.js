// The dashboard: asks the server again and again, and shows the list or the page of one key.

import * as dialog from "./act.js";
import { h, say } from "./draw.js";
import { drawKey, leave } from "./key.js";
import { PAGE, age, ageAll, drawList, keyOf, linkTo } from "./list.js";
import { joined, visible } from "./words.js";

const POLL = 700; // ms between two polls: an opening is seen within a second
const HIDDEN = 5000; // the same while nobody looks; the title still tells
const STALE = 5000; // ms without an answer after which the page must look old

const $ = (id) => document.getElementById(id);
let answer = null; // the last one
let etag = "";
let clock = 0; // the server's clock minus ours, in seconds
let heard = 0; // when the server answered last, by our clock, in ms
let failures = 0;
let trouble = "";
let timer = 0;
let asking = new AbortController();
const seen = new Map(); // process: when it answered last

const place = () => new URLSearchParams(location.hash.slice(1));
// Not performance.now(): that stops while a phone sleeps, and old figures would look new.
const isStale = () => heard > 0 && Date.now() - heard > STALE;
/** The server's time in seconds; null while nothing is heard, so that no countdown goes on. */
const now = () => (isStale() ? null : Date.now() / 1000 + clock);

/** Of all text of the server, characters that hide or turn the text around them are shown. */
const seenAsText = (_, value) => (typeof value === "string" ? visible(value) : value);

/** Make times of what the answer says in seconds from its own time. */
function date(key, at, step, me) {
  key.step = step;
  key.me = me;
  key.at = key.since == null ? null : at - key.since;
  key.probe = at + key.retry_after;
  if (key.outage) {
    key.opened = at - key.outage.since;
    delete key.outage.since;
  }
  for (const held of key.overrides) {
    held.began = at - held.age;
    held.ends = held.left == null ? null : at + held.left;
    delete held.age;
    delete held.left;
  }
  delete key.since;
  delete key.retry_after;
}

function receive(body) {
  answer = body;
  const at = Date.parse(body.view.now) / 1000;
  clock = at - Date.now() / 1000;
  for (const key of body.keys ?? [body]) date(key, at, body.step, body.view.fleet?.me);
  const { fleet, host, pid, read_only: readOnly, user } = body.view;
  seen.set(pid, Date.now());
  for (const [each, when] of seen) if (Date.now() - when > 30_000) seen.delete(each);
  say($("view"), `${host}, process ${pid}`);
  const others = fleet
    ? joined(fleet)
    : seen.size > 1
      ? `${seen.size} processes answer in turn, and each has breakers of its own.`
      : "This process only.";
  $("scope").classList.toggle("bad", Boolean(fleet?.last_failure && !fleet.connected));
  const rights = readOnly ? " You may look, but not act." : "";
  say($("scope"), `${others}${user ? ` You are ${user}.` : ""}${rights}`);
}

function draw() {
  const began = performance.now();
  const single = Boolean(answer.history);
  if (single !== place().has("key")) return; // an answer to what was asked before
  $("list").hidden = single;
  $("one").hidden = !single;
  if (single) drawKey($("one"), answer, now(), act);
  else {
    drawList(answer, Object.fromEntries(place()), now(), go);
    linkTo(leave())?.focus(); // back where one came from
  }
  performance.measure("redraw", { start: began });
}

const act = (key) => dialog.ask(key, Date.now() / 1000 + clock, answer.view);

function go(changes) {
  const params = place();
  for (const [name, value] of Object.entries(changes))
    value ? params.set(name, value) : params.delete(name);
  history.replaceState(null, "", `#${params}`);
  move();
}

function move() {
  etag = "";
  poll();
}

async function poll() {
  clearTimeout(timer);
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  const late = setTimeout(() => asking.abort("late"), STALE);
  const params = place();
  const id = params.get("key");
  params.set("limit", PAGE);
  try {
    const reply = await fetch(id ? `keys/${encodeURIComponent(id)}` : `keys?${params}`, {
      cache: "no-store",
      signal,
      headers: etag ? { "If-None-Match": etag } : {},
    });
    trouble = reply.ok || [304, 404].includes(reply.status) ? "" : `Only errors (${reply.status})`;
    if (trouble) throw new TypeError(trouble);
    const body = reply.ok ? JSON.parse(await reply.text(), seenAsText) : null;
    heard = Date.now();
    failures = 0;
    if (reply.status === 404) gone();
    if (body) {
      etag = reply.headers.get("ETag") ?? "";
      receive(body);
      draw();
    }
  } catch (error) {
    // What is no matter of the network is a fault of this page, and is to be seen in its console.
    if (!(error instanceof TypeError || signal.aborted)) throw error;
    if (!signal.aborted || signal.reason === "late") failures++;
  } finally {
    clearTimeout(late);
    if (!signal.aborted || signal.reason === "late") {
      tick();
      timer = setTimeout(poll, document.hidden ? HIDDEN : Math.min(10_000, POLL * 2 ** failures));
    }
  }
}

function gone() {
  leave();
  answer = null;
  etag = "";
  $("list").hidden = true;
  $("one").hidden = false;
  const words =
    "There is no such key any more. A key is dropped when it was closed and idle for long.";
  $("one").replaceChildren(
    h("p", {}, h("a", { href: "#", textContent: "← All keys" })),
    h("p", { className: "nothing", textContent: words }),
  );
}

function tick() {
  const stale = isStale();
  document.documentElement.classList.toggle("stale", stale);
  const at = new Date(heard + clock * 1000).toLocaleTimeString("en-GB");
  say(
    $("fresh"),
    heard ? `${stale ? "Not live, last" : "Live"} ${at}` : failures ? trouble || "No answer" : "",
  );
  $("stale").hidden = !stale;
  // Without a count of seconds: a screen reader would read it out each time.
  if (stale)
    say(
      $("stale"),
      `${trouble || "No answer"} since ${at}. All of this is old: it is how things were then.`,
    );
  ageAll(now());
  if (answer?.history && !$("one").hidden) age($("one"), answer, now());
}

$("q").oninput = () => go({ q: $("q").value.trim(), offset: "" });
$("find").onsubmit = (event) => event.preventDefault();
$("skip").onclick = (event) => {
  event.preventDefault();
  $("main").focus();
};
$("rows").onclick = (event) => {
  const button = event.target.closest(".act");
  if (button) act(keyOf(button.closest(".row")));
};
// Arrows go from key to key, only while one has the focus (WCAG 2.1.4).
$("rows").onkeydown = (event) => {
  const by = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  const there = by && event.target.closest(".row")[by];
  if (!there) return;
  event.preventDefault();
  there.querySelector("a").focus();
};
dialog.init(poll);
window.onhashchange = move;
window.onresize = () => answer?.history && draw();
document.onvisibilitychange = () => document.hidden || poll();
setInterval(tick, 1000);
poll();
