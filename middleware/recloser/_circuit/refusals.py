"""The refusals of a limit: which share of the calls it refused of late, and when."""

from __future__ import annotations

# The share of refused calls is averaged over `_AVERAGED` calls. Up to `_SOME`, the limit hardly refuses
# anybody. Above `_MANY`, there are more calls than the callee can serve for long, so that a shorter
# queue refuses no more of them.
_AVERAGED = 64.0
_SOME = 0.02
_MANY = 0.1


class Refusals:
    """The refusals of one limit.

    Args:
        now: Seconds.

    Attributes:
        share: Share of the calls that were refused of late, 0.0-1.0.
        last: When a call was refused last while `are_some`; when the limit began before that. In
            seconds.
    """

    __slots__ = ("last", "share")

    def __init__(self, now: float) -> None:
        self.share = 0.0
        self.last = now

    def count_admitted(self) -> None:
        """Count a call that was admitted."""
        self.share -= self.share / _AVERAGED

    def count(self, now: float) -> None:
        """Count a call that was refused at `now` seconds."""
        self.share += (1.0 - self.share) / _AVERAGED
        if self.are_some:
            self.last = now

    @property
    def are_some(self) -> bool:
        """Whether more calls were refused of late than by chance."""
        return self.share > _SOME

    @property
    def are_many(self) -> bool:
        """Whether more calls come than the callee can serve for long."""
        return self.share > _MANY
