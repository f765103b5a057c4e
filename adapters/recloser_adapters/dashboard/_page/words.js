// What is known of a key, in words. All text of the server is untrusted, and goes through
// textContent and setAttribute only.

export const STATES = {
  open: "Open",
  half_open: "Half-open",
  limited: "Limited",
  closed: "Closed",
};
const DAY = 86_400;

export const sum = (counts) => counts.reduce((total, count) => total + count, 0);
export const number = (value) => value.toLocaleString("en");
export const plural = (count, what) => `${number(count)} ${what}${count === 1 ? "" : "s"}`;
export const digits = (value) => String(Number(value.toPrecision(value < 10 ? 2 : 3)));

/** A latency to two or three digits: 190 ms, 2.4 s. */
export const seconds = (value) =>
  value < 0.9995 ? `${digits(value * 1000)} ms` : `${digits(value)} s`;

/** How long something lasts, as a person says it: 41 s, 12 min, 3 h 20 min, 19 d. */
export function span(value) {
  const whole = Math.max(0, Math.round(value));
  if (whole < 100) return `${whole} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours >= 48) return `${Math.floor(hours / 24)} d`;
  return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
}

/** The most calls of a step, as a rate to two digits. */
export function peak({ strip: { good, bad, refused }, step }) {
  const most = Math.max(...good.map((calls, i) => calls + bad[i] + refused[i]));
  return `peak ${Number((most / step).toPrecision(2))}/s`;
}

/** A key may have 10 kB. */
export const short = (key, most = 240) =>
  (key.length > most ? `${key.slice(0, most - 40)}…${key.slice(-30)}` : key) || "(empty key)";

/** Characters that hide, or turn the text around them, are shown by their number. */
export const visible = (text) =>
  text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (sign) => `\\u${sign.codePointAt(0).toString(16).padStart(4, "0")}`,
  );

/** Whose breakers these are, where a store joins workers. */
export function joined({ alive, connected, failing_for: failing, place, last_failure: why }) {
  if (connected) return `1 of ${plural(alive, "worker")} that share ${place}.`;
  if (!why) return `Not connected yet to ${place}: that begins with the first call.`;
  return `No fleet for ${span(failing ?? 0)}, this worker decides alone: ${place} fails (${why}).`;
}

const begun = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** As the server counts it in `totals`: a key that refuses nobody is not open. */
export const group = (key) =>
  key.state === "closed" || (key.mode === "enforce" && key.enforce_share > 0) ? key.state : "would";

export function word(key) {
  if (key.mode === "disabled") return "Off";
  const state = STATES[key.state];
  return group(key) === "would" ? `Would be ${state.toLowerCase()}` : state;
}

export const isLoud = (key) =>
  key.state !== "closed" ||
  key.overrides.length > 0 ||
  key.evidence > key.evidence_threshold / 4 ||
  Object.keys(key.fleet?.alone ?? {}).length > 0;

const opened = (key) => key.overrides.find(({ what }) => what === "open");

/** Why it is as it is. The server's `explain` begins with the state, which is shown anyway. */
export function why(key) {
  const by = opened(key);
  if (by) return by.reason ? `By hand: “${by.reason}”` : "Opened by hand, without a reason.";
  const reason = key.outage?.reason ?? key.reason;
  const held = key.overrides[0];
  if (!reason && held?.reason) return `Changed by hand: “${held.reason}”`;
  if (reason) return begun(reason.sentence);
  return begun(key.explain.replace(/^(observe, nothing is refused; )?closed(: |, but )/, ""));
}

/** What happens next, at a time of the server in seconds; null while that is not known. */
export function next(key, now) {
  const held = key.overrides[0];
  if (held) {
    if (held.ends == null) return "Does not end by itself.";
    return now == null ? "" : `Ends in ${span(held.ends - now)}.`;
  }
  if (key.state === "half_open")
    return begun(key.explain.replace(/^.*?half-open: /, "Probing now: ") + ".");
  if (key.state === "limited" && key.limit != null)
    return `At most ${plural(Math.ceil(key.limit), "call")} at a time.`;
  if (key.state !== "open" || now == null || group(key) === "would") return "";
  const left = key.probe - now;
  if (left > 0.5) return `Next probe in ${span(left)}.`;
  const here = key.fleet?.probers?.includes(key.me) ?? true;
  return here ? "The next call is a probe." : "Another worker sends the next probe.";
}

/** When it came into its state, in seconds of the server; failed probes do not count. */
export const since = (key) => key.opened ?? key.at;

export function note(key, now) {
  const held = key.overrides[0];
  const words = [];
  if (held && now != null) {
    const age = now - held.began;
    words.push(`${held.by ? `By ${held.by}, ` : ""}${span(age)} ago.`);
    if (held.ends == null && age > DAY) words.push("Forgotten?");
  }
  if (key.spared) {
    const good = number(key.spared_good);
    words.push(`Would have refused ${plural(key.spared, "call")}, ${good} of them good.`);
  }
  words.push(key.fleet?.explain);
  return words.filter(Boolean).join(" ");
}

export function badges(key) {
  const words = [];
  if (key.mode === "observe") words.push("observed only");
  if (key.enforce_share < 1 && key.mode === "enforce")
    words.push(`enforced for ${Math.round(key.enforce_share * 100)} %`);
  if (key.overrides.length) words.push("by hand");
  return words;
}
