// The page of one key: five panels on one time axis, what happened, and the figures.

import { boxes, calls, clamp, flight, h, round, s, say, sign } from "./draw.js";
import { age, fill } from "./list.js";
import { STATES, digits, group, number, seconds, short, span, word } from "./words.js";

const LABELS = 120; // px on the right of the panels
const THICK = { closed: 2, limited: 6, half_open: 10, open: 14 };
const time = (at, options) => new Date(at).toLocaleString("en-GB", options);

/** A panel is a title and what is drawn below it; all have one time axis. */
class Chart {
  constructor(history, width) {
    this.history = history;
    this.count = history.length;
    this.inner = Math.max(100, width - LABELS);
    this.parts = [];
    this.y = 0;
  }
  column(name) {
    return this.history.map((step) => step[name]);
  }
  area(name, low, high) {
    return s("path", { class: name, d: boxes(this.count, this.inner / this.count, low, high) });
  }
  /** A line with steps; `at` is the y of a value. */
  line(name, values, at) {
    const y = (i, by) => (values[i] == null ? null : at(values[i]) + by);
    return this.area(
      name,
      (i) => y(i, -0.75),
      (i) => y(i, 0.75),
    );
  }
  label(y, text, strong) {
    const props = { x: this.inner + 8, y: round(y), class: strong ? "strong" : "" };
    return Object.assign(s("text", props), { textContent: text });
  }
  panel(title, height, ...children) {
    const name = Object.assign(s("text", { x: 0, y: this.y + 12, class: "strong" }), {
      textContent: title,
    });
    this.parts.push(name, s("g", { transform: `translate(0 ${this.y + 20})` }, ...children));
    this.y += height + 38;
  }
}

function drawLatencies(chart, key) {
  const [means, slow] = [chart.column("latency"), chart.column("slow_threshold")];
  const known = [...means, ...slow, key.p50 || null, key.p99 || null].filter(
    (value) => value != null,
  );
  const [low, high] = [Math.log(Math.min(...known) * 0.8), Math.log(Math.max(...known) * 1.25)];
  const at = (value) => clamp(110 * (1 - (Math.log(value) - low) / (high - low)), 0, 110);
  const labels = [
    ["slow from", key.slow_threshold],
    ["p99", key.p99],
    ["median", key.p50],
  ];
  let free = 0;
  chart.panel(
    "Latency: mean, usual range (log scale)",
    110,
    chart.area(
      "zone",
      () => 0,
      (i) => (slow[i] == null ? null : at(slow[i])),
    ),
    ...(key.p50
      ? [
          chart.area(
            "usual",
            (i) => slow[i] && at(key.p99),
            (i) => slow[i] && at(key.p50),
          ),
        ]
      : []),
    chart.line("limit", slow, at),
    chart.area(
      "mean",
      (i) => means[i] && at(means[i]) - 2,
      (i) => means[i] && at(means[i]) + 2,
    ),
    ...labels
      .filter(([, value]) => value)
      .map(([name, value], i) => {
        free = Math.max(at(value) + 4, free + 15); // labels must not lie on each other
        return chart.label(free, `${name} ${seconds(value)}`, i === 0);
      }),
  );
}

function draw(key, width) {
  const chart = new Chart(key.history, width);
  const states = chart.column("state");
  const lanes = Object.entries(THICK).map(([state, thick]) =>
    chart.area(
      `lane ${state}`,
      (i) => (states[i] === state ? 7 - thick / 2 : null),
      () => 7 + thick / 2,
    ),
  );
  chart.panel("State", 14, ...lanes, chart.label(12, STATES[key.state]));

  const busiest = Math.max(...key.history.map((step) => step.good + step.bad + step.refused));
  chart.panel(
    "Calls: good, bad, and refused below the line",
    72,
    ...calls(key.strip, chart.inner, 72),
    chart.label(12, `peak ${Number((busiest / key.step).toPrecision(2))}/s`),
  );
  drawLatencies(chart, key);

  const enough = key.evidence_threshold;
  const evidence = chart.column("evidence");
  const up = (value) => 48 - 44 * clamp(value / enough, 0, 1);
  chart.panel(
    "Evidence of trouble",
    48,
    chart.area(
      "fill",
      () => 48,
      (i) => up(evidence[i] ?? 0),
    ),
    s("path", { class: "mark", d: `M0 4H${chart.inner}` }),
    s("path", { class: "line", d: `M0 48H${chart.inner}` }),
    chart.label(8, `acts at ${digits(enough)}`, true),
    chart.label(46, `now ${digits(key.evidence)}`),
  );

  const [inFlight, limits] = [chart.column("in_flight"), chart.column("limit")];
  const most = Math.max(1, ...inFlight, ...limits);
  const fly = (value) => 40 - (36 * value) / most;
  chart.panel(
    "In flight, against the limit",
    40,
    chart.area(
      "good",
      () => 40,
      (i) => fly(inFlight[i] ?? 0),
    ),
    chart.line("limit", limits, fly),
    s("path", { class: "line", d: `M0 40H${chart.inner}` }),
    chart.label(38, key.limit == null ? `${flight(key)}, no limit` : flight(key)),
  );
  drawAxis(chart, key);
  const words =
    "The last five minutes of state, calls, latency, evidence and calls in flight. The list below says in words what happened.";
  return s(
    "svg",
    { class: "chart", width, height: chart.y + 4, role: "img", "aria-label": words },
    ...chart.parts,
  );
}

function drawAxis(chart, key) {
  const length = chart.count * key.step * 1000;
  const end = Math.ceil(Date.parse(key.view.now) / 1000 / key.step) * key.step * 1000;
  const x = (at) => round(((at - end + length) / length) * chart.inner);
  for (let at = Math.ceil((end - length) / 60_000) * 60_000; at < end; at += 60_000) {
    chart.parts.unshift(s("path", { class: "grid", d: `M${x(at)} 16V${chart.y - 14}` }));
    if (x(at) < 18 || x(at) > chart.inner - 18) continue;
    const label = s("text", { x: x(at), y: chart.y, "text-anchor": "middle" });
    chart.parts.push(Object.assign(label, { textContent: time(at, { timeStyle: "short" }) }));
  }
  for (const { at } of key.transitions) {
    if (Date.parse(at) > end - length)
      chart.parts.unshift(
        s("path", { class: "change", d: `M${x(Date.parse(at))} 16V${chart.y - 14}` }),
      );
  }
}

const entry = (at, ...children) =>
  h(
    "li",
    {},
    h(
      "p",
      { className: "when" },
      h("time", {
        dateTime: at,
        textContent: time(at, { dateStyle: "medium", timeStyle: "medium" }),
      }),
    ),
    h("div", {}, ...children),
  );
const by = (name) => name && h("span", { className: "badge", textContent: `by ${name}` });
const state = (name) => h("span", { className: "change" }, sign(name), STATES[name]);

function drawTransition({
  at,
  before,
  after,
  reason,
  mode,
  bad_calls: badCalls,
  repeats,
  by: name,
}) {
  const numbers = Object.entries(reason.numbers).filter(([, value]) => value != null);
  const said = badCalls.map(
    (vote) =>
      `${vote.outcome} after ${seconds(vote.latency ?? 0)}${vote.error ? ` (${vote.error})` : ""}`,
  );
  const traces = badCalls.map((vote) => vote.trace).filter(Boolean);
  const details = [
    said.length && `Last bad calls: ${said.join(", ")}.`,
    numbers.length &&
      `Rule ${reason.rule}: ${numbers.map(([key, value]) => `${key} ${digits(value)}`).join(", ")}.`,
    traces.length && `Traces: ${traces.join(" ")}`,
  ].filter(Boolean);
  const only =
    mode !== "enforce" && h("span", { className: "badge", textContent: "observed only" });
  return entry(
    at,
    h(
      "p",
      {},
      state(before),
      " → ",
      state(after),
      only,
      repeats > 0 && h("span", { className: "badge", textContent: `${repeats + 1} times` }),
      by(name),
    ),
    h("p", { className: "why", textContent: reason.sentence }),
    details.length > 0 &&
      h(
        "details",
        {},
        h("summary", { textContent: "What decided" }),
        ...details.map((textContent) => h("p", { textContent })),
      ),
  );
}

function drawAction({ at, action, reason, by: name, ...asked }) {
  const told = Object.entries(asked)
    .filter(([, value]) => value != null)
    .map(([key, value]) =>
      key === "for"
        ? `for ${span(value)}`
        : `${key} ${typeof value === "object" ? JSON.stringify(value) : value}`,
    );
  return entry(
    at,
    h(
      "p",
      {},
      h("b", { textContent: `Asked: ${action}` }),
      told.length ? ` (${told.join(", ")})` : "",
      by(name),
    ),
    h("p", { className: "why", textContent: reason }),
  );
}

function figures(key) {
  const pairs = {
    ...(key.key === short(key.key) ? {} : { Key: key.key }),
    Mode:
      key.enforce_share < 1
        ? `${key.mode}, for ${Math.round(key.enforce_share * 100)} % of callers`
        : key.mode,
    Calls: number(key.calls),
    Failed: number(key.failures),
    Slow: number(key.slow),
    "Asked to wait": number(key.throttled),
    Refused: number(key.refused),
    "Would have refused": `${number(key.spared)}, of which ${number(key.spared_good)} good`,
    "Usual p50, p95, p99": key.p50
      ? [key.p50, key.p95, key.p99].map(seconds).join(", ")
      : "unknown",
    ...key.policy,
  };
  return Object.entries(pairs).map(([name, value]) =>
    h("div", {}, h("dt", { textContent: name }), h("dd", { textContent: String(value) })),
  );
}

let shown = { id: "", text: "" };

/** Forget which key is shown, and return its id. */
export function leave() {
  const { id } = shown;
  shown = { id: "", text: "" };
  return id;
}

function build(page) {
  page.replaceChildren(
    h("p", {}, h("a", { href: "#", textContent: "← All keys" })),
    h("h1", {}, h("bdi")),
    h(
      "div",
      { className: "state" },
      sign("closed"),
      h(
        "div",
        {},
        h("b", { className: "word" }),
        " ",
        h("span", { className: "age" }),
        h("span", { className: "badges" }),
      ),
    ),
    h("p", { className: "why" }),
    h(
      "p",
      { className: "then" },
      h("b", { className: "next" }),
      " ",
      h("span", { className: "note" }),
    ),
    h("button", { className: "act", type: "button", textContent: "Act on this key" }),
    h("div", { className: "plot" }),
    h("h2", { textContent: "What happened" }),
    h("ol", { className: "history" }),
    h("h2", { textContent: "Figures and settings" }),
    h("dl", {}),
  );
}

export function drawKey(page, key, now, act) {
  const part = (name) => page.querySelector(name);
  if (shown.id !== key.id) {
    shown = { id: key.id, text: "" };
    build(page);
    say(part("bdi"), short(key.key));
    document.getElementById("main").focus();
    scrollTo(0, 0);
  }
  page.className = group(key);
  fill(page, key);
  age(page, key, now);
  part(".act").hidden = key.view.read_only;
  part(".act").onclick = () => act(key);
  part(".plot").replaceChildren(draw(key, part(".plot").clientWidth));
  const text = JSON.stringify([key.transitions, key.actions]);
  if (text !== shown.text) {
    // Else an opened "What decided" would shut at each poll.
    shown.text = text;
    const events = [
      ...key.transitions.map((each) => [each.at, drawTransition(each)]),
      ...key.actions.map((each) => [each.at, drawAction(each)]),
    ];
    events.sort(([one], [other]) => (one < other ? 1 : -1));
    const none = h("li", {
      className: "quiet",
      textContent: "Nothing yet that this page has seen.",
    });
    part(".history").replaceChildren(...(events.length ? events.map(([, item]) => item) : [none]));
  }
  part("dl").replaceChildren(...figures(key));
  document.title = `${word(key)}: ${short(key.key).slice(0, 60)} · recloser`;
}
