// The dialog in which an action says its effect, its end and its reach before it is done.

import { h, say } from "./draw.js";
import { plural, short, since, span, why, word } from "./words.js";

// Name: what it is called, its effect, and what is sent beside the reason. `until` is when it ends.
const ACTIONS = {
  "end-override": ["Let it decide again", () => "What was set by hand ends now."],
  open: ["Open: refuse every call", (until) => `Every call is refused ${until}`],
  close: ["Close: let calls pass", () => "Calls pass at once. New evidence opens it again."],
  "half-open": ["Half-open: probe now", () => "A few probes pass. If they are good, it closes."],
  observe: [
    "Observe: refuse nothing",
    (until) => `Nothing is refused, and what would have been is counted, ${until}`,
    () => ({ mode: "observe" }),
  ],
  enforce: [
    "Enforce for all callers",
    (until) => `All callers are refused when it is open, ${until}`,
    () => ({ mode: "enforce", enforce_share: 1 }),
  ],
  share: [
    "Enforce for a share of callers",
    (until) => `${form.share.value} % of callers, always the same, are refused when open, ${until}`,
    () => ({ mode: "enforce", enforce_share: form.share.value / 100 }),
  ],
  reset: [
    "Reset: close and forget",
    () =>
      "It forgets what is normal for this key, and notices less until it has learned that again.",
  ],
  policy: [
    "Change a setting",
    () => "It holds until the process ends. What was learned is kept.",
    () => ({ policy: { [form.field.value]: Number(form.value.value) } }),
  ],
};
const PATHS = { observe: "mode", enforce: "mode", share: "mode" }; // the others have their own name

const $ = (id) => document.getElementById(id);
const form = $("dialog").querySelector("form");
let target = null;
let asker = null;
let policy = {};
let place = "";
let fleet = null;

/** Show the dialog for a key; `now` is the server's time in seconds. */
export async function ask(key, now, view) {
  [target, asker, policy] = [key, document.activeElement, key.policy ?? {}];
  form.reset();
  say($("dialog-title").querySelector("bdi"), short(key.key));
  const at = since(key);
  say($("dialog-state"), `${word(key)}${at == null ? "" : ` for ${span(now - at)}`}. ${why(key)}`);
  const possible = Object.keys(ACTIONS).filter(
    (name) => name !== "end-override" || key.overrides.length,
  );
  form.action.replaceChildren(
    ...possible.map((value) => h("option", { value, textContent: ACTIONS[value][0] })),
  );
  if (!key.overrides.length) form.action.value = key.state === "closed" ? "open" : "half-open";
  say($("refusal"), "");
  $("refusal").hidden = true;
  form.dataset.now = now;
  place = `Only in ${view.host}, process ${view.pid}.`;
  fleet = view.fleet;
  foresee();
  $("dialog").showModal();
  if (!key.policy) {
    // Rows have no settings: those come with the page of the key.
    const reply = await fetch(`keys/${encodeURIComponent(key.id)}`).catch(() => null);
    if (target === key && reply?.ok) policy = (await reply.json()).policy;
  }
  form.field.replaceChildren(
    ...Object.keys(policy).map((name) => h("option", { textContent: name })),
  );
  form.value.value = policy[form.field.value] ?? "";
}

const reachOf = ({ alive, connected }) =>
  connected
    ? `It reaches all ${plural(alive, "worker")} of the fleet.`
    : `${place} The others hear of it when the store works again.`;

function foresee(event) {
  const action = form.action.value;
  if (event?.target === form.field) form.value.value = policy[form.field.value];
  for (const label of form.querySelectorAll("[data-of]")) {
    label.hidden = !label.dataset.of.split(" ").includes(action);
    label.querySelector("input, select").disabled = label.hidden; // else the browser checks it
  }
  const length = Number(form.for.value);
  const at = new Date((Number(form.dataset.now) + length) * 1000);
  const until = length
    ? `until ${at.toLocaleTimeString("en-GB", { timeStyle: "short" })}, then it decides for itself again.`
    : "until somebody ends it. It does not end by itself.";
  // A setting is the process's own; all else is told to the fleet.
  const reach = fleet && action !== "policy" ? reachOf(fleet) : place;
  say($("effect"), `${ACTIONS[action][1](until)} ${reach}`);
  say($("do"), ACTIONS[action][0].split(":")[0]);
}

/** Send what was asked for; return in words why it failed, "" if it did not. */
async function send() {
  const action = form.action.value;
  const body = { reason: form.reason.value, ...ACTIONS[action][2]?.() };
  if (!form.for.disabled) body.for = Number(form.for.value) || null;
  try {
    const reply = await fetch(`keys/${encodeURIComponent(target.id)}/${PATHS[action] ?? action}`, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "Content-Type": "application/json" },
    });
    if (reply.ok) return "";
    const { title, detail } = await reply.json();
    return `${title}. ${detail}`;
  } catch {
    return "There was no answer. It may or may not have happened: look at the key.";
  }
}

export function init(afterwards) {
  form.oninput = foresee;
  form.onsubmit = async (event) => {
    event.preventDefault();
    $("do").disabled = true;
    const problem = await send();
    $("do").disabled = false;
    $("refusal").hidden = !problem;
    say($("refusal"), problem);
    if (!problem) $("dialog").close();
    afterwards();
  };
  $("cancel").onclick = () => $("dialog").close();
  $("dialog").onclose = () => asker?.focus();
}
