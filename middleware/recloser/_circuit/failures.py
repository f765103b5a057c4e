"""Failures while limited: whether calls fail because there are too many of them.

A callee that sheds load fails fewer calls if it gets fewer. So the limit falls while calls fail. If
they still fail when hardly any are in flight, the load is not the cause. Then a test of the calls
from then on tells whether most are good. A round has too few calls for that: its share may be chance.
"""

from __future__ import annotations

from recloser._circuit.round import Finding
from recloser._circuit.share_test import ShareTest

# The share of good calls that makes a callee worth asking.
_ENOUGH = 0.5


class Failures:
    """The failures under one limit.

    Attributes:
        are_crowding: Whether fewer calls were seen to fail less.
        are_usual: Whether some calls fail however few there are, and most are good.
        test: The test of the calls since there were few; None before.
    """

    __slots__ = ("_first", "_timed_out", "are_crowding", "are_usual", "test")

    def __init__(self) -> None:
        self.are_crowding = False
        self.are_usual = False
        self.test: ShareTest | None = None
        self._first = 0
        self._timed_out = 0

    def begin_test(self, token: int) -> None:
        """Test the calls from a token on, if they are not tested yet."""
        if self.test is None:
            self.test = ShareTest(_ENOUGH)
            self._first = token
            self._timed_out = 0

    def add(self, token: int, *, ok: bool, timed_out: bool) -> Finding:
        """Add a call that ended to the test, if there is one; return what the test shows.

        Args:
            token: Its token.
            ok: Whether it was answered.
            timed_out: Whether it failed and took longer than the slow threshold.
        """
        test = self.test
        if test is None or self.are_usual or token < self._first:
            return Finding.NOTHING
        test.good += ok
        test.failed += not ok
        self._timed_out += timed_out
        if test.is_enough is None:
            return Finding.NOTHING
        if test.is_enough:
            self.are_usual = True
            return Finding.PARTIAL
        self.test = None
        if 2 * self._timed_out <= test.failed:
            return Finding.FAILING
        # A call that timed out is slow, and a sign of a callee that fails only if all are.
        return Finding.SICK if test.good else Finding.HANGING
