"""What an error says about the callee: by its status, by its class, or by what it was raised from."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from recloser._error_presets import (
    FAILED,
    KNOWN,
    OF_THE_PROGRAM,
    OWN,
    Verdict,
    is_of_files,
    is_time_out,
    preset,
    worst,
)
from recloser._error_status import verdict_of_status
from recloser._outcome import Outcome, stands_for_refusal
from recloser._policy import Policy

# An error is raised from another, that from a third, and so on: so many are looked at.
_DEEPEST = 8


def ask_policy(
    policy: Policy, error: BaseException, fault: Callable[[str, BaseException], None]
) -> Outcome | None:
    """The outcome of an error by the policy; None if the policy does not say.

    Args:
        policy: Its `classify_error` comes before its `ignore_errors`.
        error: The error.
        fault: Counts a fault in `classify_error`, which then does not say anything.
    """
    if policy.classify_error is not None:
        try:
            outcome: object = policy.classify_error(error)
            if isinstance(outcome, Outcome):
                return outcome
            if outcome is not None:
                raise TypeError(
                    f"Policy.classify_error must return an Outcome or None, not {outcome!r}"
                )
        except Exception as wrong:
            fault("classify_error", wrong)
    return Outcome.IGNORED if isinstance(error, policy.ignore_errors) else None


def classify_error(error: BaseException) -> Outcome:
    """Classify what a call raised; see `judge_error`."""
    return judge_error(error).outcome


def judge_error(error: BaseException, depth: int = _DEEPEST) -> Verdict:
    """Tell what an error that a call raised says about the callee.

    - A refusal by a breaker says nothing, and neither does an error that stands for one.
    - A status decides: see `_error_status.py`. Else the class does: see `_error_presets.py`.
    - If neither is known, the error that it was raised from (`__cause__`) decides.
    - An error of the program itself, such as a `ValueError`, says nothing. Any other `Exception` is
      a failure. What is no `Exception` cancels the call.

    Args:
        error: The error. An exception group has the worst outcome of its leaves.
        depth: How many causes, or groups in groups, are looked at.
    """
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return worst([judge_error(leaf, depth - 1) for leaf in group.exceptions])
    if not isinstance(error, Exception):
        return Verdict(Outcome.of_error(error))
    if stands_for_refusal(error):
        return OWN
    for each in _with_causes(error, depth):
        if isinstance(each, BaseExceptionGroup):
            return judge_error(cast("BaseExceptionGroup[BaseException]", each), depth - 1)
        verdict = _own_verdict(each)
        if verdict is not None:
            return verdict
    return preset(error, OF_THE_PROGRAM) or FAILED


def _own_verdict(error: BaseException) -> Verdict | None:
    """What an error says without its causes; None for nothing that is known."""
    verdict = verdict_of_status(error) or (OWN if is_of_files(error) else preset(error, KNOWN))
    return FAILED if verdict is None and is_time_out(error) else verdict


def _with_causes(error: BaseException, depth: int) -> list[BaseException]:
    """An error, what it was raised from, and so on; each one once."""
    # No generator, here and below: if a signal handler raised while one is dropped, that were lost.
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and len(causes) < depth and id(cause) not in map(id, causes):
        causes.append(cause)
        cause = cause.__cause__
    return causes
