"""Before and after: the code with the other library, and that with recloser, do the same."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from tests.support.documented import Checks, headings, run

from recloser import BreakerOpenError
from recloser.testing import open_breaker

PAGE = "docs/how-to/migration.md"


def paid(pay: Any, amount: int) -> str:
    said = pay(amount)
    return str(asyncio.run(said) if inspect.iscoroutine(said) else said)


def check_in_short(names: dict[str, Any]) -> None:
    assert names["charge"](5) == "charged 5"
    open_breaker(names["breakers"]["payments"])
    with pytest.raises(BreakerOpenError):
        names["charge"](5)


def check_pybreaker(before: dict[str, Any], after: dict[str, Any]) -> None:
    for names in (before, after):
        assert paid(names["pay"], 5) == "charged 5"
    before["breaker"].open()
    open_breaker(after["breaker"])
    for names in (before, after):
        assert paid(names["pay"], 5) == "later"


def check_circuitbreaker(before: dict[str, Any], after: dict[str, Any]) -> None:
    from circuitbreaker import CircuitBreakerMonitor

    for names in (before, after):
        assert paid(names["pay"], 5) == "charged 5"
    [breaker] = CircuitBreakerMonitor.get_circuits()
    for _ in range(5):
        with pytest.raises(ConnectionError), breaker:
            raise ConnectionError
    open_breaker(after["breakers"]["charge"])
    for names in (before, after):
        assert paid(names["pay"], 5) == "later"


def check_aiobreaker(before: dict[str, Any], after: dict[str, Any]) -> None:
    check_pybreaker(before, after)


def check_tenacity(before: dict[str, Any], after: dict[str, Any]) -> None:
    for names in (before, after):
        assert names["charge"](5) == "charged 5"
    open_breaker(after["breakers"]["payments"])
    with pytest.raises(BreakerOpenError):
        after["charge"](5)

    assert after["charge"].statistics["attempt_number"] == 1


CHECKS: Checks = {
    (PAGE, "Coming from another library"): check_in_short,
    (PAGE, "pybreaker"): check_pybreaker,
    (PAGE, "circuitbreaker"): check_circuitbreaker,
    (PAGE, "aiobreaker"): check_aiobreaker,
    (PAGE, "tenacity"): check_tenacity,
}


# aiobreaker asks for the time in a way that Python 3.12 warns of.
@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
@pytest.mark.parametrize(("page", "heading"), CHECKS)
def test_the_code_before_and_after_does_the_same(page: str, heading: str) -> None:
    if " " not in heading:
        pytest.importorskip(heading)
    run(CHECKS, page, heading)


def test_every_heading_with_code_has_its_check() -> None:
    assert headings("docs/how-to/migration.md") == [heading for _, heading in CHECKS]
