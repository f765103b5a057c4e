// Small graphics. A path of boxes draws a whole series at once.

import { digits, number, peak, seconds, sum } from "./words.js";

/** Make an element; children that are null or false are left out. */
export function h(name, props = {}, ...children) {
  const element = Object.assign(document.createElement(name), props);
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

export function s(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const round = (value) => Math.round(value * 10) / 10;
export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** One box for each step, from y = low(i) to y = high(i); null leaves a gap. */
export function boxes(count, width, low, high) {
  let path = "";
  for (let i = 0; i < count; i++) {
    const [from, to] = [low(i), high(i)];
    if (from == null || to == null || from === to) continue;
    path += `M${round(i * width)} ${round(from)}H${round((i + 1) * width)}V${round(to)}H${round(i * width)}z`;
  }
  return path;
}

/** Good and bad calls stand on the line, refused ones hang from it, all to one scale. */
export function calls({ good, bad, refused }, width, height) {
  const zero = Math.round(height * 0.62);
  const most = Math.max(1, ...good.map((count, i) => count + bad[i]));
  const unit = Math.min(zero / most, (height - zero) / Math.max(1, ...refused));
  // One bad call among a thousand must be seen.
  const top = (i) => zero - (bad[i] && Math.max(1.5, bad[i] * unit));
  const line = () => zero;
  const bars = (name, low, high) =>
    s("path", { class: name, d: boxes(good.length, width / good.length, low, high) });
  return [
    bars("good", top, (i) => top(i) - good[i] * unit),
    bars("bad", line, top),
    bars("refused", line, (i) => zero + refused[i] * unit),
    s("path", { class: "line", d: `M0 ${zero}H${width}` }),
  ];
}

export function drawStrip(box, key) {
  const [svg, under] = box.children;
  const [good, bad, refused] = ["good", "bad", "refused"].map((name) => sum(key.strip[name]));
  svg.replaceChildren(...calls(key.strip, 180, 36));
  const label = `${number(good)} good, ${number(bad)} bad, ${number(refused)} refused`;
  svg.setAttribute("aria-label", `Last 5 minutes: ${label}`);
  const parts = [peak(key), bad && `${number(bad)} bad`, refused && `${number(refused)} refused`];
  say(under, good + bad + refused ? parts.filter(Boolean).slice(-2).join(", ") : "no calls");
}

/** On a log scale on which slow is at the same place for all keys: what reaches it stands out. */
export function drawLatency(box, { p50, p95, p99, slow_threshold: slow, latency: now }) {
  const [svg, under] = box.children;
  const x = (value) => round(clamp(24 * (Math.log2(value / slow) + 4), 4, 164));
  const parts = [
    s("rect", { class: "zone", x: x(slow), y: 0, width: 168 - x(slow), height: 22 }),
    s("path", { class: "limit", d: `M${x(slow)} 0v22` }),
  ];
  if (p50) {
    parts.push(s("path", { class: "thin", d: `M${x(p50)} 11H${x(p99)}` }));
    parts.push(s("path", { class: "thick", d: `M${x(p50)} 11H${x(p95)}` }));
  }
  if (now > slow) parts.push(s("path", { class: "now slow", d: `M${x(now)} 4l6 7-6 7-6-7z` }));
  else if (now) parts.push(s("circle", { class: "now", cx: x(now), cy: 11, r: 4 }));
  svg.replaceChildren(...parts);
  const usual = p50 ? seconds(p50) : "unknown";
  svg.setAttribute(
    "aria-label",
    `Latency: median ${usual}${p50 ? `, 95 % below ${seconds(p95)}, 99 % below ${seconds(p99)}` : ""}, ` +
      `slow from ${seconds(slow)}${now ? `, now ${seconds(now)}` : ""}`,
  );
  under.className = "under pair";
  under.replaceChildren(
    h("span", { textContent: usual }),
    h("span", { textContent: seconds(slow) }),
    now > slow ? h("b", { className: "bad", textContent: `now ${seconds(now)}` }) : "",
  );
}

/** A bar up to a mark: evidence up to where it acts, calls in flight up to the limit. */
export function drawBar(box, value, limit, text, label) {
  const [svg, under] = box.children;
  svg.setAttribute("aria-label", label);
  svg.replaceChildren();
  if (limit) {
    const full = value >= limit ? "fill full" : "fill";
    const width = round(clamp(value / limit, 0, 1) * 94);
    svg.append(
      s("path", { class: "track", d: "M0 11H94" }),
      s("rect", { class: full, y: 7, width, height: 8 }),
      s("path", { class: "limit", d: "M94 2v18" }),
    );
  }
  say(under, text);
}

export function drawEvidence(box, { evidence, evidence_threshold: enough }) {
  const text = evidence ? `${digits(evidence)} of ${digits(enough)}` : "none";
  drawBar(
    box,
    evidence,
    enough,
    text,
    `Evidence of trouble: ${text}, where ${digits(enough)} suffices`,
  );
}

export function flight({ in_flight: calls, limit }) {
  return limit == null ? number(calls) : `${number(calls)} of ${number(Math.ceil(limit))}`;
}

export function drawFlight(box, key) {
  drawBar(box, key.in_flight, key.limit, flight(key), `In flight: ${flight(key)}`);
}

/** The sign of a state: a shape, so that it is not told by colour alone. */
export const sign = (name, look = name) =>
  s("svg", { class: `shape ${look}`, "aria-hidden": "true" }, s("use", { href: `#${name}` }));
