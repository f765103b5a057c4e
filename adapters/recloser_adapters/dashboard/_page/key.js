// The page of one key: what happened to it, on one time axis and in words, and its figures.

import { boxes, calls, clamp, flight, h, round, s, say, sign } from "./draw.js";
import { age, fill } from "./list.js";
import { STATES, digits, group, number, peak, seconds, short, span, word } from "./words.js";

const LABELS = 120; // px on the right of the panels
const THICK = { closed: 2, limited: 6, half_open: 10, open: 14 };
const $ = (id) => document.getElementById(id);
const clockTime = (at, options) => new Date(at).toLocaleString("en-GB", options);

/** Five panels on one time axis, so that cause and effect stand above each other. */
function drawChart(svg, key) {
  const width = Math.max(240, svg.clientWidth);
  const inner = width - LABELS;
  const count = key.history.length;
  const parts = [];
  let top = 0;
  const column = (name) => key.history.map((step) => step[name]);
  const text = (x, y, textContent, more = {}) =>
    Object.assign(s("text", { x: round(x), y: round(y), ...more }), { textContent });
  const label = (y, words, name = "") => text(inner + 8, y, words, { class: name });
  const base = (y, name = "line") => s("path", { class: name, d: `M0 ${y}H${inner}` });
  /** What is between two heights in each step, which are functions of its number. */
  const area = (name, low, high) =>
    s("path", { class: name, d: boxes(count, inner / count, low, high) });
  const line = (name, values, at, half = 0.75) =>
    area(
      name,
      (i) => (values[i] == null ? null : at(values[i]) - half),
      (i) => (values[i] == null ? null : at(values[i]) + half),
    );
  const panel = (title, height, ...children) => {
    const place = s("g", { transform: `translate(0 ${top + 20})` }, ...children);
    parts.push(text(0, top + 12, title, { class: "strong" }), place);
    top += height + 38;
  };

  const states = column("state");
  const lane = (state) =>
    line(
      `lane ${state}`,
      states.map((each) => (each === state ? 7 : null)),
      Number,
      THICK[state] / 2,
    );
  panel("State", 14, ...Object.keys(THICK).map(lane), label(12, STATES[key.state]));

  const busiest = label(12, peak(key));
  panel(
    "Calls: good, bad, and refused below the line",
    72,
    ...calls(key.strip, inner, 72),
    busiest,
  );

  const [means, slow] = [column("latency"), column("slow_threshold")];
  const known = [...means, ...slow, key.p50, key.p99, key.slow_threshold].filter(Boolean);
  const [low, high] = [Math.log(Math.min(...known) * 0.8), Math.log(Math.max(...known) * 1.25)];
  const log = (value) => 110 * (1 - (Math.log(value) - low) / (high - low));
  const names = { slow: key.slow_threshold, p99: key.p99, median: key.p50 };
  let free = 0; // labels must not lie on each other
  const labels = Object.entries(names).flatMap(([name, value], i) => {
    if (!value) return [];
    free = Math.max(log(value) + 4, free + 15);
    return [label(free, `${name} ${seconds(value)}`, i ? "" : "strong")];
  });
  const usual = (name) => (i) => slow[i] && key[name] && log(key[name]);
  panel(
    "Latency: mean, usual range (log scale)",
    110,
    area(
      "zone",
      () => 0,
      (i) => slow[i] && log(slow[i]),
    ),
    area("usual", usual("p99"), usual("p50")),
    line("limit", slow, log),
    line("mean", means, log, 2),
    ...labels,
  );

  const [evidence, enough] = [column("evidence"), key.evidence_threshold];
  panel(
    "Evidence of trouble",
    48,
    area(
      "fill",
      () => 48,
      (i) => 48 - 44 * clamp((evidence[i] ?? 0) / enough, 0, 1),
    ),
    base(4, "mark"),
    base(48),
    label(8, `acts at ${digits(enough)}`, "strong"),
    label(46, `now ${digits(key.evidence)}`),
  );

  const [inFlight, limits] = [column("in_flight"), column("limit")];
  const fly = (value) => 40 - (36 * value) / Math.max(1, ...inFlight, ...limits);
  panel(
    "In flight, against the limit",
    40,
    area(
      "good",
      () => 40,
      (i) => fly(inFlight[i] ?? 0),
    ),
    line("limit", limits, fly),
    base(40),
    label(38, key.limit == null ? `${flight(key)}, no limit` : flight(key)),
  );

  const length = count * key.step * 1000;
  const end = Math.ceil(Date.parse(key.view.now) / 1000 / key.step) * key.step * 1000;
  const x = (at) => round(((at - end + length) / length) * inner);
  const rule = (name, at) => s("path", { class: name, d: `M${x(at)} 16V${top - 14}` });
  for (let at = Math.ceil((end - length) / 60_000) * 60_000; at < end; at += 60_000) {
    parts.unshift(rule("grid", at));
    if (x(at) > 18 && x(at) < inner - 18)
      parts.push(
        text(x(at), top, clockTime(at, { timeStyle: "short" }), { "text-anchor": "middle" }),
      );
  }
  const moments = key.transitions.map(({ at }) => Date.parse(at)).filter((at) => at > end - length);
  parts.unshift(...moments.map((at) => rule("change", at)));
  svg.setAttribute("height", top + 4);
  svg.replaceChildren(...parts);
}

const badge = (textContent) => h("span", { className: "badge", textContent });
const state = (name) => h("span", { className: "change" }, sign(name), STATES[name]);

function entry({ at, by }, what, why, ...more) {
  const textContent = clockTime(at, { dateStyle: "medium", timeStyle: "medium" });
  const when = h("p", { className: "when" }, h("time", { dateTime: at, textContent }));
  const head = h("p", {}, ...what, by && badge(`by ${by}`));
  return h(
    "li",
    {},
    when,
    h("div", {}, head, h("p", { className: "why", textContent: why }), ...more),
  );
}

function drawTransition(change) {
  const { before, after, reason, mode, bad_calls: bad, repeats } = change;
  const numbers = Object.entries(reason.numbers).filter(([, value]) => value != null);
  const traces = bad.map((call) => call.trace).filter(Boolean);
  const error = (call) => (call.error ? ` (${call.error})` : "");
  const votes = bad.map((call) => `${call.outcome} after ${seconds(call.latency)}${error(call)}`);
  const told = [
    votes.length && `Last bad calls: ${votes.join(", ")}.`,
    numbers.length && `Rule ${reason.rule}: ${numbers.map((each) => each.join(" ")).join(", ")}.`,
    traces.length && `Traces: ${traces.join(" ")}`,
  ].filter(Boolean);
  const more = told.map((textContent) => h("p", { textContent }));
  return entry(
    change,
    [
      ...[state(before), " → ", state(after)],
      mode !== "enforce" && badge("observed only"),
      repeats > 0 && badge(`${repeats + 1} times`),
    ],
    reason.sentence,
    told.length > 0 && h("details", {}, h("summary", { textContent: "What decided" }), ...more),
  );
}

function drawAction(done) {
  const { at, action, by, reason, for: length, ...asked } = done;
  const told = Object.entries(asked).filter(([, value]) => value != null);
  const values = told.map(([name, value]) => `${name} ${JSON.stringify(value)}`);
  if (length) values.unshift(`for ${span(length)}`);
  const details = values.length ? ` (${values.join(", ")})` : "";
  return entry(done, [h("b", { textContent: `Asked: ${action}` }), details], reason);
}

function figures(key) {
  const pairs = {
    ...(key.key === short(key.key) ? {} : { Key: key.key }),
    Mode: key.mode,
    "Share of callers": `${Math.round(key.enforce_share * 100)} %`,
    Calls: number(key.calls),
    Failed: number(key.failures),
    Slow: number(key.slow),
    "Asked to wait": number(key.throttled),
    Refused: number(key.refused),
    "Would have refused": number(key.spared),
    "of which good": number(key.spared_good),
    ...key.policy,
  };
  const term = (textContent) => h("dt", { textContent });
  return Object.entries(pairs).map(([name, value]) =>
    h("div", {}, term(name), h("dd", { textContent: String(value) })),
  );
}

let shown = { id: "", text: "" };

/** Forget which key is shown, and return its id. */
export function leave() {
  const { id } = shown;
  shown = { id: "", text: "" };
  return id;
}

export function drawKey(page, key, now, act) {
  const part = (name) => page.querySelector(name);
  if (shown.id !== key.id) {
    shown = { id: key.id, text: "" };
    page.replaceChildren($("key").content.cloneNode(true));
    say(part("bdi"), short(key.key));
    $("main").focus();
    scrollTo(0, 0);
  }
  page.className = group(key);
  fill(page, key);
  age(page, key, now);
  part(".act").hidden = key.view.read_only;
  part(".act").onclick = () => act(key);
  drawChart(part(".chart"), key);
  const text = JSON.stringify([key.transitions, key.actions]);
  if (text !== shown.text) {
    // Else an opened "What decided" would shut at each poll.
    shown.text = text;
    const events = [...key.transitions.map((each) => [each.at, drawTransition(each)])];
    events.push(...key.actions.map((each) => [each.at, drawAction(each)]));
    events.sort(([one], [other]) => (one < other ? 1 : -1));
    const none = h("li", { className: "quiet", textContent: "Nothing yet that was seen here." });
    part(".history").replaceChildren(...(events.length ? events.map(([, each]) => each) : [none]));
  }
  part("dl").replaceChildren(...figures(key));
  document.title = `${word(key)}: ${short(key.key, 60)} · recloser`;
}
