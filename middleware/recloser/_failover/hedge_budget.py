"""The budget of hedging: how many calls may be sent twice, and how many were."""

from __future__ import annotations

from dataclasses import dataclass

from recloser._locks import new_lock, within

# Tokens that are saved at most: so many calls at once may be sent twice after a quiet time.
_MOST_SAVED = 10.0
# What a sum of tokens may be short of a whole one: 20 times 0.05 is not quite 1.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Hedging:
    """What hedging has done since the failover was made.

    Attributes:
        calls: Calls that might have been sent twice.
        sent: Second attempts that were sent.
        won: Those of them that served their call.
        over_budget: Calls that were slow, but not sent twice, because the budget was used up.
        tokens: How many may be sent now, >= 0.
        share: The share of calls that may be sent twice; 0.0 if hedging is off.
    """

    calls: int = 0
    sent: int = 0
    won: int = 0
    over_budget: int = 0
    tokens: float = 0.0
    share: float = 0.0

    def __str__(self) -> str:
        if not self.share:
            return "hedging is off"
        share = self.sent / self.calls if self.calls else 0.0
        return (
            f"hedging: {self.sent:,} of {self.calls:,} calls were sent twice ({share:.2%}, at most "
            f"{self.share:.2%}), {self.won:,} of them were served by the second attempt, and "
            f"{self.over_budget:,} slow calls were over the budget"
        )


class HedgeBudget:
    """A token bucket that calls fill: each adds its share, and a second attempt takes a whole one.

    It begins empty, so that the share holds from the first call on.

    Args:
        share: The share of calls that may be sent twice, > 0.
    """

    __slots__ = ("_calls", "_lock", "_over", "_sent", "_share", "_tokens", "_won")

    def __init__(self, share: float) -> None:
        self._share = share
        self._tokens = 0.0
        self._calls = self._sent = self._won = self._over = 0
        self._lock = new_lock()

    def note_call(self) -> None:
        """A call begins that might be sent twice."""
        within(self._lock, self._fill)

    def _fill(self) -> None:
        self._calls += 1
        self._tokens = min(self._tokens + self._share, _MOST_SAVED)

    def take(self) -> bool:
        """Take a token for a second attempt; False if there is none."""
        return within(self._lock, self._take)

    def _take(self) -> bool:
        if self._tokens < 1.0 - _ROUNDING:
            self._over += 1
            return False
        self._tokens = max(self._tokens - 1.0, 0.0)
        self._sent += 1
        return True

    def give_back(self) -> None:
        """No second attempt was sent after all: no provider is healthy."""
        within(self._lock, self._give_back)

    def _give_back(self) -> None:
        self._tokens += 1.0
        self._sent -= 1

    def note_won(self) -> None:
        """A second attempt has served its call."""
        within(self._lock, self._win)

    def _win(self) -> None:
        self._won += 1

    def figures(self) -> Hedging:
        """What it has counted."""
        return within(self._lock, self._figures)

    def _figures(self) -> Hedging:
        return Hedging(self._calls, self._sent, self._won, self._over, self._tokens, self._share)
