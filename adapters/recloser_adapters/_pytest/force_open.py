"""`force_open`: opens the breaker of a key that exists, or fails the test."""

from __future__ import annotations

from typing import Any

import pytest

from recloser import Breaker, Mode
from recloser_adapters._close_keys import did_you_mean
from recloser_adapters._pytest.of_test import OfTest

_MOST_NAMED = 20


class ForceOpen:
    """Opens breakers. The fixture `force_open` is one."""

    def __init__(self, of_test: OfTest) -> None:
        self._of_test = of_test

    def __call__(
        self,
        key: str,
        *,
        within: Any = None,
        for_: float | None = None,
        must_exist: bool = True,
    ) -> Breaker:
        """Open the breaker of a key, so that its calls are refused.

        Args:
            key: The key of a route, or of a breaker that exists.
            within: The app, test client or registry that has it. By default those are looked at that
                the fixtures of the test have made, and `recloser_registry`.
            for_: Seconds until the first probe, >= 0; None for until the test's end.
            must_exist: False for a key that is made by its first call, such as the host of an
                outbound one. It is then opened in `within` or in `recloser_registry`.

        Returns:
            The breaker, for `breaker.half_open()` and the like.
        """
        __tracebackhide__ = True
        keys = self._of_test.look(within)
        if not keys:
            pytest.fail(f"force_open: no app with breakers, and no registry: {within!r}")
        registries = [registry for registry, names in keys.items() if key in names]
        if not registries and must_exist:
            pytest.fail(_unknown(key, {name for names in keys.values() for name in names}))
        # What is looked at first is `recloser_registry`.
        breakers = [registry[key] for registry in registries or [next(iter(keys))]]
        for breaker in breakers:
            if breaker.mode is Mode.DISABLED:
                pytest.fail(
                    f"force_open: the breaker of {key!r} is disabled, so it refuses nothing; "
                    "is RECLOSER_MODE or RECLOSER_ENABLED set?"
                )
            breaker.open("opened by a test", for_)
        return breakers[0]


def _unknown(key: str, known: set[str]) -> str:
    message = f"force_open: no route and no breaker has the key {key!r}{did_you_mean(key, known)}"
    named = sorted(known)[:_MOST_NAMED]
    more = f" and {len(known) - len(named)} more" if len(known) > len(named) else ""
    there = ", ".join(map(repr, named)) if named else "none"
    return (
        f"{message}\nThere are: {there}{more}\n"
        "Apps and clients that fixtures have made are looked at; for another one write within=app. "
        "A key that is made by its first call, such as the host of an outbound one, needs "
        "must_exist=False."
    )
