"""Fixtures for tests of guarded apps; pytest finds them by itself where recloser is installed.

    def test_orders_answer_503_while_their_service_is_down(client, force_open):
        force_open("GET /orders/{order}")

        assert client.get("/orders/7").status_code == 503

- `recloser_registry`: a registry of this test alone, on the test's own clock and without jitter. Give
  it to what makes the app: `make_app(registry=recloser_registry)`. A project whose app has one
  registry for good returns that from a fixture of this name in its `conftest.py`.
- `recloser_clock`: the clock of that registry. It moves only by `recloser_clock.advance(seconds)`.
- `force_open(key)`: opens a breaker. The test fails if no route and no breaker has the key, so that a
  key with a typo in it does not make a test that tests nothing.
- `recloser_transitions`: what happened so far; `recloser_transitions.expect(key, "open", "closed")`.

Nothing is left for the next test: what a test has opened or trained, in any registry that these
fixtures have seen, is reset after it.

Nothing is imported, and nothing happens, in a test that names none of them. `-p no:recloser` switches
the plugin off.

PYTEST_DONT_REWRITE: pytest would warn in a process that has imported recloser before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from recloser import Registry
    from recloser.testing import ManualClock
    from recloser_adapters._pytest.force_open import ForceOpen
    from recloser_adapters._pytest.of_test import OfTest
    from recloser_adapters._pytest.transitions import Transitions

__all__ = ["force_open", "recloser_clock", "recloser_registry", "recloser_transitions"]

# pytest loads this module in every run. So recloser itself is imported in the fixtures.


@pytest.fixture
def recloser_clock() -> ManualClock:
    """A clock that only the test moves: `recloser_clock.advance(seconds)`."""
    from recloser.testing import ManualClock

    # Not zero: there a point in time looks like a duration.
    return ManualClock(1000.0)


@pytest.fixture
def recloser_registry(recloser_clock: ManualClock) -> Registry:
    """A registry of this test alone. A project may have a fixture of this name that returns its own."""
    from recloser import Registry
    from recloser.testing import no_jitter

    return Registry(clock=recloser_clock, random=no_jitter)


@pytest.fixture
def _recloser_of_test(
    request: pytest.FixtureRequest, recloser_registry: Registry
) -> Iterator[OfTest]:
    from recloser_adapters._pytest.of_test import OfTest

    of_test = OfTest(recloser_registry, request.node)
    yield of_test
    of_test.end()


@pytest.fixture
def recloser_transitions(_recloser_of_test: OfTest) -> Transitions:
    """The changes of state so far, as a sequence; `.of(key)` and `.expect(key, "open", ...)`."""
    return _recloser_of_test.transitions


@pytest.fixture
def force_open(_recloser_of_test: OfTest) -> ForceOpen:
    """Opens the breaker of a key until the test's end: `force_open("GET /orders/{order}")`."""
    from recloser_adapters._pytest.force_open import ForceOpen

    return ForceOpen(_recloser_of_test)
