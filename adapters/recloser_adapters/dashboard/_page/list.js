// The list of keys, worst first.

import { drawEvidence, drawFlight, drawLatency, drawStrip, h, say, sign } from "./draw.js";
import {
  badges,
  group,
  isLoud,
  next,
  note,
  number,
  short,
  since,
  span,
  why,
  word,
} from "./words.js";

export const PAGE = 50;
const CHIPS = {
  open: "open",
  half_open: "half-open",
  limited: "limited",
  would: "would refuse",
  closed: "closed",
  by_hand: "by hand",
  all: "keys",
};
const $ = (id) => document.getElementById(id);
const rows = new Map(); // id: { element, key, text }

export const keyOf = (element) => [...rows.values()].find((row) => row.element === element)?.key;
export const linkTo = (id) => rows.get(id)?.element.querySelector("a");

/** State, age, why and what is next; rows and the page of a key have the same parts. */
export function fill(element, key) {
  const part = (name) => element.querySelector(name);
  const shape = part(".state .shape");
  shape.setAttribute("class", `shape ${group(key)}`);
  shape.firstElementChild.setAttribute(
    "href",
    `#${key.mode === "disabled" ? "disabled" : key.state}`,
  );
  say(part(".word"), word(key));
  say(part(".why"), isLoud(key) ? why(key) : "");
  part(".badges").replaceChildren(
    ...badges(key).map((text) => h("span", { className: "badge", textContent: text })),
  );
}

/** What changes as time goes by; `now` is null while nothing is heard. */
export function age(element, key, now) {
  const at = since(key);
  if (now != null) say(element.querySelector(".age"), at == null ? "" : `for ${span(now - at)}`);
  say(element.querySelector(".next"), next(key, now));
  say(element.querySelector(".note"), note(key, now));
}

export function ageAll(now) {
  for (const { element, key } of rows.values()) age(element, key, now);
}

function drawRow(element, key, view) {
  const part = (name) => element.querySelector(name);
  element.className = `row ${group(key)} ${isLoud(key) ? "loud" : "calm"}`;
  fill(element, key);
  part("a").href = `#key=${encodeURIComponent(key.id)}`;
  say(part("bdi"), short(key.key, 120));
  drawStrip(part(".strip"), key);
  drawLatency(part(".latency"), key);
  drawEvidence(part(".evidence"), key);
  drawFlight(part(".flight"), key);
  part(".act").hidden = view.read_only;
  part(".act").setAttribute("aria-label", `Act on ${short(key.key)}`);
}

function announce(element, key) {
  say($("said"), `${short(key.key)} is now: ${word(key)}. ${why(key)}`);
  element.classList.remove("changed");
  requestAnimationFrame(() => element.classList.add("changed"));
}

function drawRows(answer, now) {
  const list = $("rows");
  const focused = document.activeElement;
  const shown = new Set(answer.keys.map((key) => key.id));
  for (const [id, row] of rows) if (!shown.has(id)) (row.element.remove(), rows.delete(id));
  answer.keys.forEach((key, i) => {
    let row = rows.get(key.id);
    if (!row) {
      row = { element: $("row").content.firstElementChild.cloneNode(true), text: "" };
      rows.set(key.id, row);
    }
    const { at, opened, probe, ...rest } = key;
    const text = JSON.stringify([rest, answer.view.read_only]);
    if (row.text !== text) {
      drawRow(row.element, key, answer.view);
      if (row.text && group(row.key) !== group(key)) announce(row.element, key);
    }
    Object.assign(row, { key, text });
    age(row.element, key, now);
    if (list.children[i] !== row.element) list.insertBefore(row.element, list.children[i] ?? null);
  });
  // A row that was moved has lost the focus.
  if (focused !== document.activeElement && focused.isConnected)
    focused.focus({ preventScroll: true });
}

function drawChips(totals, show, go) {
  for (const [name, text] of Object.entries(CHIPS)) {
    let chip = $(`chip-${name}`);
    if (!chip) {
      const shape = name in totals && !["by_hand", "all"].includes(name);
      chip = h(
        "button",
        { id: `chip-${name}`, type: "button" },
        shape && sign(name === "would" ? "open" : name, name),
        h("b"),
        ` ${text}`,
      );
      $("chips").append(chip);
    }
    chip.hidden = !totals[name] && name !== "all" && show !== name;
    chip.setAttribute("aria-pressed", String(show === name));
    say(chip.querySelector("b"), number(totals[name]));
    chip.onclick = () => go({ show: show === name || name === "all" ? "" : name, offset: "" });
  }
}

export function drawList(answer, { q = "", show = "all" }, now, go) {
  const { keys, matched, offset, totals } = answer;
  drawChips(totals, show, go);
  if (document.activeElement !== $("q")) $("q").value = q;
  drawRows(answer, now);
  document.querySelector(".heads").hidden = !keys.length;
  $("nothing").hidden = keys.length > 0;
  const asked = [show !== "all" && CHIPS[show], q && `“${q}”`].filter(Boolean).join(", ");
  say(
    $("nothing"),
    totals.all ? `No key fits: ${asked}.` : "No calls yet. A key appears here with its first call.",
  );
  $("pages").hidden = matched <= PAGE;
  say($("range"), `${number(offset + 1)} to ${number(offset + keys.length)} of ${number(matched)}`);
  $("back").disabled = offset === 0;
  $("more").disabled = offset + keys.length >= matched;
  $("back").onclick = () => go({ offset: Math.max(0, offset - PAGE) || "" });
  $("more").onclick = () => go({ offset: offset + PAGE });
  const bad = ["open", "half_open", "limited"].filter((name) => totals[name]);
  const title = bad.map((name) => `${totals[name]} ${CHIPS[name]}`).join(", ");
  document.title = `${title || "all closed"} · recloser`;
}
