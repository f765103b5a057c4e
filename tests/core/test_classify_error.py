"""What an error says: by itself, by what it was raised from, or by the rule for all others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from errno import EACCES, ECONNREFUSED, EEXIST, EISDIR, ENOENT, ENOSPC, EPIPE
from itertools import pairwise

import pytest
from tests.support.breaker_state import ended

from recloser import Breaker, BreakerOpenError, Outcome, Policy, State
from recloser._classify_error import classify_error, judge_error
from recloser._error_presets import FAILED, OWN, REJECTED, THROTTLES, Verdict

REFUSAL = BreakerOpenError("k", State.OPEN, None, 1.0)


class StatusError(Exception):
    def __init__(self, status_code: int | None) -> None:
        super().__init__(status_code)
        self.status_code = status_code


class WrapperError(Exception):
    """Of a library that hides what it is built on."""


class InputError(ValueError): ...


def chain(*errors: BaseException) -> BaseException:
    """The first error, raised from the second, and so on."""
    for error, cause in pairwise(errors):
        error.__cause__ = cause
    return errors[0]


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        # A status
        (StatusError(404), REJECTED),
        (StatusError(429), THROTTLES),
        (StatusError(408), FAILED),
        (StatusError(503), FAILED),
        (StatusError(None), FAILED),
        # What Python itself raises for a mistake of the program or of its input
        (ValueError("amount"), OWN),
        (InputError("amount"), OWN),
        (KeyError("choices"), OWN),
        (TypeError(), OWN),
        (AttributeError(), OWN),
        (AssertionError(), OWN),
        (NotImplementedError(), OWN),
        (ZeroDivisionError(), OWN),
        (UnicodeEncodeError("ascii", "\xe9", 0, 1, ""), OWN),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, ""), OWN),
        # A file of the program
        (FileNotFoundError("no such report"), OWN),
        (FileNotFoundError(ENOENT, "No such file or directory", "report.csv"), OWN),
        (PermissionError(EACCES, "Permission denied", "/etc/shadow"), OWN),
        (FileExistsError(EEXIST, "File exists", b"lock"), OWN),
        (chain(WrapperError(), IsADirectoryError(EISDIR, "Is a directory", "/tmp")), OWN),
        # A socket that is missing, or forbidden; a disk that is full or broken
        (FileNotFoundError(ENOENT, "No such file or directory"), FAILED),
        (PermissionError(EACCES, "Permission denied"), FAILED),
        (OSError(ECONNREFUSED, "Connection refused"), FAILED),
        (OSError(ENOSPC, "No space left on device", "report.csv"), FAILED),
        (OSError("unreachable"), FAILED),
        (BrokenPipeError(EPIPE, "Broken pipe"), FAILED),
        # What it raises for a callee that does not work, or sends what nobody can read
        (RuntimeError(), FAILED),
        (ConnectionResetError(), FAILED),
        (TimeoutError(), FAILED),
        (EOFError(), FAILED),
        (json.JSONDecodeError("", "", 0), FAILED),
        # What is not known is a failure
        (WrapperError(), FAILED),
        (Exception(), FAILED),
        # A time-out by its name, whatever it is derived from
        (type("TimedOutError", (AssertionError,), {})(), FAILED),
        # What it was raised from, if it says nothing itself
        (chain(WrapperError(), StatusError(404)), REJECTED),
        (chain(StatusError(None), StatusError(404)), REJECTED),
        (chain(StatusError(503), StatusError(404)), FAILED),
        (chain(ValueError(), ConnectionError()), FAILED),
        (chain(ValueError(), StatusError(400)), REJECTED),
        (chain(ValueError(), KeyError()), OWN),
        (chain(WrapperError(), KeyError()), FAILED),
        (chain(WrapperError(), WrapperError(), StatusError(429)), THROTTLES),
        (chain(WrapperError(), ExceptionGroup("", [StatusError(404)])), REJECTED),
        # A refusal, whatever was made of it
        (REFUSAL, OWN),
        (chain(StatusError(503), REFUSAL), OWN),
        (chain(StatusError(503), WrapperError(), REFUSAL), OWN),
        # Groups: the worst
        (ExceptionGroup("", [StatusError(404), ValueError()]), REJECTED),
        (ExceptionGroup("", [StatusError(404), StatusError(429)]), THROTTLES),
        (ExceptionGroup("", [ValueError(), OSError()]), FAILED),
        (BaseExceptionGroup("", [asyncio.CancelledError()]), Verdict(Outcome.CANCELLED)),
        (asyncio.CancelledError(), Verdict(Outcome.CANCELLED)),
        (SystemExit(404), Verdict(Outcome.CANCELLED)),
    ],
)
def test_what_an_error_says(error: BaseException, verdict: Verdict) -> None:
    assert judge_error(error) == verdict
    assert classify_error(error) is verdict.outcome


def test_causes_in_a_circle_end() -> None:
    first, second = WrapperError(), WrapperError()
    first.__cause__, second.__cause__ = second, first

    assert judge_error(first) == FAILED


def test_causes_without_end_are_not_followed_for_ever() -> None:
    error = chain(*[WrapperError() for _ in range(100)], StatusError(404))

    assert judge_error(error) == FAILED


def while_a_refusal_is_handled(error: Exception) -> Exception:
    try:
        try:
            raise REFUSAL
        except BreakerOpenError:
            raise error  # noqa: B904 - that is the point
    except Exception as caught:
        return caught


@pytest.mark.parametrize("error", [StatusError(503), WrapperError("payments are down")])
def test_what_is_raised_instead_of_a_refusal_is_no_failure(error: Exception) -> None:
    assert judge_error(while_a_refusal_is_handled(error)) == OWN
    assert Outcome.of_error(error) is Outcome.IGNORED


@pytest.mark.parametrize("error", [ConnectionResetError(), RuntimeError()])
def test_what_is_tried_instead_of_a_refused_call_may_fail(error: Exception) -> None:
    assert judge_error(while_a_refusal_is_handled(error)) == FAILED
    assert Outcome.of_error(error) is Outcome.FAILURE


def fail(error: BaseException) -> None:
    raise error


@pytest.fixture
def policy(request: pytest.FixtureRequest) -> Policy:
    return getattr(request, "param", Policy())


def says(outcome: object) -> Iterator[Policy]:
    yield Policy(classify_error=lambda error: outcome)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    ("policy", "error", "end"),
    [
        (Policy(), ValueError("amount"), (0, 0, 1, 0)),
        (Policy(ignore_errors=(ConnectionError,)), ConnectionResetError(), (0, 0, 1, 0)),
        (*says(Outcome.FAILURE), ValueError(), (0, 1, 0, 0)),
        (*says(Outcome.FAILURE), StatusError(404), (0, 1, 0, 0)),
        (*says(Outcome.SUCCESS), OSError(), (1, 0, 0, 0)),
        (*says(None), OSError(), (0, 1, 0, 0)),
        (*says(None), StatusError(404), (0, 0, 1, 0)),
        (*says("failure"), StatusError(404), (0, 0, 1, 0)),
    ],
    indirect=["policy"],
)
def test_the_policy_is_asked_before_the_rules(
    breaker: Breaker, error: Exception, end: tuple[int, ...]
) -> None:
    with pytest.raises(type(error)):
        breaker.call(fail, error)

    assert ended(breaker) == end


@pytest.mark.parametrize(
    "policy",
    [
        Policy(
            ignore_errors=(ConnectionError,),
            classify_error=lambda error: (
                Outcome.FAILURE if isinstance(error, ConnectionResetError) else None
            ),
        )
    ],
    indirect=True,
)
def test_the_function_of_the_policy_comes_before_its_list(breaker: Breaker) -> None:
    for error in (ConnectionResetError(), ConnectionRefusedError()):
        with pytest.raises(type(error)):
            breaker.call(fail, error)

    assert ended(breaker) == (0, 1, 1, 0)


@pytest.mark.parametrize(
    "policy", [Policy(classify_error=lambda error: fail(KeyError("a bug")))], indirect=True
)
def test_a_fault_in_the_function_of_the_policy_leaves_the_rules(breaker: Breaker) -> None:
    with pytest.raises(StatusError):
        breaker.call(fail, StatusError(404))

    assert ended(breaker) == (0, 0, 1, 0)


def test_mistakes_of_users_never_open(breaker: Breaker) -> None:
    for _ in range(100):
        with pytest.raises(ValueError, match="amount"):
            breaker.call(fail, ValueError("amount"))

    assert breaker.state is State.CLOSED
