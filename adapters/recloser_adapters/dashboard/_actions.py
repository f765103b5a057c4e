"""What can be done to a key by hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, cast

from recloser import Breaker, Mode, Policy
from recloser_adapters.dashboard._exchange import Problem

LONGEST = 30 * 86_400.0
"""Seconds; the longest time that can be given. What shall last longer has no end: `"for": null`."""
_LONGEST_REASON = 500


def perform(breaker: Breaker, action: str, asked: dict[str, Any], by: str) -> dict[str, Any]:
    """Do to a breaker what was asked for; nothing is done if that is wrong in any part.

    Args:
        breaker: The breaker.
        action: A name in `ACTIONS`.
        asked: The JSON object of the request.
        by: Who asks.

    Returns:
        What was asked for, checked, for the record.

    Raises:
        Problem: 400, the object is not what the action takes; 422, a value is out of range; 409, a
            setting contradicts another one.
    """
    takes, do = ACTIONS[action]
    for name in asked:
        if name not in takes:
            raise Problem(400, "Bad request", f"{action} takes {', '.join(takes)}, not {name!r}")
    checked: dict[str, Any] = {"reason": _reason(asked.get("reason", ""))}
    if "for" in takes:
        checked["for"] = _seconds(asked.get("for"))
    for name in ("mode", "enforce_share", "policy"):
        if name in takes:
            checked[name] = asked.get(name)
    try:
        do(breaker, checked, by)
    except (TypeError, ValueError) as error:
        raise Problem(422, "Not possible", str(error)) from None
    return checked


def _reason(reason: object) -> str:
    if not isinstance(reason, str):
        raise Problem(400, "Bad request", "reason must be a text")
    if len(reason) > _LONGEST_REASON:
        raise Problem(422, "Too long", f"reason must have at most {_LONGEST_REASON} characters")
    return reason


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


NUMBERS = {
    field.name: "a whole number" if isinstance(field.default, int) else "a number"
    for field in fields(Policy)
    if _is_number(field.default)
}
"""The settings of a policy that can be changed: those that are numbers."""


def _seconds(seconds: Any) -> float | None:
    if seconds is None:
        return None
    if not _is_number(seconds):
        raise Problem(400, "Bad request", "for must be a number of seconds, or null for no end")
    if not 0.0 < seconds <= LONGEST:
        raise Problem(
            422,
            "Not such a time",
            f"for must be above 0 and at most {LONGEST:.0f} seconds (30 days), or null for no end",
        )
    return float(seconds)


def _open(breaker: Breaker, asked: dict[str, Any], by: str) -> None:
    breaker.open(asked["reason"], for_=asked["for"], by=by)


def _close(breaker: Breaker, asked: dict[str, Any], by: str) -> None:
    breaker.close(asked["reason"], by=by)


def _half_open(breaker: Breaker, asked: dict[str, Any], by: str) -> None:
    breaker.half_open(asked["reason"], by=by)


def _reset(breaker: Breaker, asked: dict[str, Any], by: str) -> None:
    breaker.reset(asked["reason"], by=by)


def _end_override(breaker: Breaker, asked: dict[str, Any], by: str) -> None:
    if not breaker.overrides:
        # Where several workers answer in turn, it may be another one that was changed.
        raise Problem(
            409,
            "Nothing to end",
            f"Nothing that was changed by hand holds for this key in process {os.getpid()}.",
        )
    # It decides again whether it is open, by its own probes.
    if any(override.state is not None for override in breaker.overrides):
        breaker.half_open(asked["reason"], by=by)
    breaker.end_override(asked["reason"], by=by)


def _mode(breaker: Breaker, asked: dict[str, Any], by: str) -> None:
    mode, share = asked["mode"], asked["enforce_share"]
    if mode is None and share is None:
        raise Problem(400, "Bad request", "Give a mode, an enforce_share, or both")
    if mode is not None and not isinstance(mode, str):
        raise Problem(400, "Bad request", "mode must be a text, such as observe")
    if share is not None and not _is_number(share):
        raise Problem(400, "Bad request", "enforce_share must be a number from 0 to 1")
    if share is not None and not 0.0 <= share <= 1.0:
        raise Problem(422, "Not such a share", "enforce_share must be a number from 0 to 1")
    breaker.override(
        None if mode is None else Mode(mode),
        enforce_share=None if share is None else float(share),
        for_=asked["for"],
        reason=asked["reason"],
        by=by,
    )


def _policy(breaker: Breaker, asked: dict[str, Any], by: str) -> None:
    if not isinstance(asked["policy"], dict) or not asked["policy"]:
        raise Problem(400, "Bad request", 'policy must be an object, such as {"min_failures": 3}')
    settings = cast("dict[str, Any]", asked["policy"])
    for name, value in settings.items():
        if name not in NUMBERS:
            raise Problem(422, "No such setting", f"{name!r} is no number of a policy")
        if not _is_number(value) or (
            NUMBERS[name] != "a number" and isinstance(value, float) and not value.is_integer()
        ):
            raise Problem(400, "Bad request", f"{name} must be {NUMBERS[name]}")
        if NUMBERS[name] != "a number":
            settings[name] = int(value)
    try:
        breaker.policy = replace(breaker.policy, **settings)
    except ValueError as error:
        # The range of one setting is fixed; that it contradicts another one may change.
        if " must be at most " in str(error):
            raise Problem(409, "A contradiction", str(error)) from None
        raise


Do = Callable[[Breaker, dict[str, Any], str], None]
ACTIONS: dict[str, tuple[tuple[str, ...], Do]] = {
    "open": (("reason", "for"), _open),
    "close": (("reason",), _close),
    "half-open": (("reason",), _half_open),
    "reset": (("reason",), _reset),
    "mode": (("reason", "for", "mode", "enforce_share"), _mode),
    "end-override": (("reason",), _end_override),
    "policy": (("reason", "policy"), _policy),
}
"""By name: the members that a request may have, and what is done."""
