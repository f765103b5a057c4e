"""What operators do by hand through a dashboard: open, close and the like."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from recloser_adapters._command.dashboard_api import DashboardApi, printable
from recloser_adapters._command.table import held

ACTIONS: Mapping[str, str] = {
    "open": "refuse all calls of a key until the time is over",
    "close": "let all calls pass now, and keep what was learned",
    "half-open": "send probes now",
    "observe": "refuse nothing, and show what would be refused",
    "enforce": "refuse calls again, of all callers or of a share",
    "reset": "close, and forget what was learned",
    "end-override": "take back what was changed by hand",
}
"""From the name of each command to what it does."""

TIMED = frozenset({"open", "observe", "enforce"})
"""The commands whose effect may end by itself."""


def steer(
    api: DashboardApi,
    action: str,
    key: str,
    *,
    why: str = "",
    seconds: float | None = None,
    share: float | None = None,
    as_json: bool = False,
) -> None:
    """Do something with a key by hand, and print what the key is then.

    Args:
        api: The dashboard.
        action: One of `ACTIONS`.
        key: The key.
        why: The reason that is recorded.
        seconds: How long it holds, > 0; None if it does not expire. Only for `TIMED`.
        share: The share of callers for which is enforced, 0.0-1.0. Only for `enforce`.
        as_json: Print the answer as JSON.

    Raises:
        CommandError: It was refused, or there is no answer.
    """
    body: dict[str, Any] = {"reason": why}
    if action in TIMED:
        body["for"] = seconds
    name = action
    if action in ("observe", "enforce"):
        name = "mode"
        body["mode"] = action
        if share is not None:
            body["enforce_share"] = share
    answer = api.act(key, name, body)
    if as_json:
        print(json.dumps(answer, indent=2))
        return
    said = f"{answer.get('explain') or answer.get('state') or 'done'}"
    print(printable(f"{answer.get('key', key)}: {said}"))
    for sentence in held(answer):
        print(f"  {sentence}")
