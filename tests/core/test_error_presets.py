"""The tables of errors: they name a class by its package and its name, and import nothing."""

from __future__ import annotations

import json
import sys

import pytest

from recloser import Outcome
from recloser._error_presets import (
    FAILED,
    KNOWN,
    OF_THE_PROGRAM,
    OWN,
    REJECTED,
    THROTTLES,
    Verdict,
    is_time_out,
    package_of,
    preset,
    worst,
)


def make(module: str, name: str, *bases: type[BaseException]) -> type[BaseException]:
    """A class of a library that need not be installed."""
    return type(name, bases or (Exception,), {"__module__": module})


def test_a_class_is_known_wherever_in_its_package_it_is() -> None:
    for module in ("redis", "redis.exceptions", "redis.asyncio.client"):
        assert preset(make(module, "ResponseError")(), KNOWN) == REJECTED
    assert preset(make("my.redis", "ResponseError")(), KNOWN) is None


def test_a_subclass_is_judged_as_the_nearest_class_that_is_known() -> None:
    response = make("redis.exceptions", "ResponseError")
    read_only = make("redis.exceptions", "ReadOnlyError", response)

    assert preset(make("redis.exceptions", "NoScriptError", response)(), KNOWN) == REJECTED
    assert preset(read_only(), KNOWN) == FAILED
    assert preset(make("app", "OurError", read_only)(), KNOWN) == FAILED


def test_the_errors_of_frameworks_for_agents_name_their_reason() -> None:
    for package in ("pydantic_ai.exceptions", "langchain_core.exceptions"):
        assert preset(make(package, "ModelRateLimitError")(), KNOWN) == THROTTLES
        assert preset(make(package, "ModelConnectionError")(), KNOWN) is None
    assert preset(make("pydantic_ai.exceptions", "ContentFilterError")(), KNOWN) == REJECTED
    assert preset(make("pydantic_ai.exceptions", "UserError", RuntimeError)(), KNOWN) == OWN
    parser = make("langchain_core.exceptions", "OutputParserException", ValueError)
    assert preset(parser(), KNOWN) == REJECTED


def test_a_star_stands_for_any_package() -> None:
    assert preset(make("app.models", "DoesNotExist")(), KNOWN) == REJECTED


def test_an_error_that_is_two_things_is_the_worse_one() -> None:
    """The error of a certificate is an OSError and a ValueError."""
    import ssl

    assert preset(ssl.SSLCertVerificationError(), KNOWN) == FAILED


def test_what_is_known_of_python_is_true_of_this_one() -> None:
    import builtins

    for name in OF_THE_PROGRAM:
        package, _, kind = name.partition(".")
        assert package == "builtins"
        assert issubclass(getattr(builtins, kind), Exception)
    assert preset(json.JSONDecodeError("", "", 0), KNOWN) == FAILED


def test_the_tables_import_no_library() -> None:
    packages = {name.partition(".")[0] for name in KNOWN} - {"*"} - sys.stdlib_module_names

    assert "stripe" in packages
    assert preset(make("stripe._error", "SignatureVerificationError")(), KNOWN) == OWN


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Timeout", True),
        ("ReadTimeoutError", True),
        ("FunctionTimedOut", True),
        ("TIMED_OUT", True),
        ("TimeError", False),
        ("RouteError", False),
    ],
)
def test_a_time_out_is_known_by_its_name(name: str, says: bool) -> None:
    kind = make("app", name, BaseException)

    assert is_time_out(kind()) is says
    assert is_time_out(make("app", "Sub", kind)()) is says


def test_the_worst_of_several_verdicts_counts() -> None:
    assert worst([REJECTED, FAILED, THROTTLES]) == FAILED
    assert worst([OWN, REJECTED]) == REJECTED
    assert worst([OWN, OWN]) == OWN
    assert worst([REJECTED, Verdict(Outcome.CANCELLED)]) == Verdict(Outcome.CANCELLED)


def test_the_package_of_a_class_is_the_first_part_of_its_module() -> None:
    assert package_of(json.JSONDecodeError) == "json"
