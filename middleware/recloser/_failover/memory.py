"""Memory: what one `Failover` remembers about its providers from call to call."""

from __future__ import annotations

from math import inf

from recloser._failover.cut_offs import CutOffs

# A provider that has rejected the credentials or the model is put last for so many seconds, then for
# twice as long, and so on. A key is renewed by hand, which takes minutes. One call finds it out.
_FIRST, _LONGEST = 5.0, 300.0
# A provider whose answers are slow is put last for so many seconds, and no less than so many times as
# long as its last answer took. Then one call finds out whether it still is slow.
_SLOW_FOR, _SLOW_TIMES = 2.0, 4.0
_MOST = 1000  # of each kind remembered at most; names of models come from requests


class Memory:
    """What one `Failover` remembers about its providers from call to call.

    Times are seconds of the registry's clock. Each change is one store into a dict, so threads need
    no lock.

    Attributes:
        called_at: From a provider's key to the start of the last call that it got.
        served_at: From a provider's key to the start of the last call that it served.
        unreached: Keys of providers that could not be reached, and have served no call since.
        cut_offs: What is known of calls without an answer.
    """

    __slots__ = (
        "_rejected",
        "_slow",
        "_usual_kinds",
        "called_at",
        "cut_offs",
        "served_at",
        "unreached",
    )

    def __init__(self) -> None:
        self.called_at: dict[str, float] = {}
        self.served_at: dict[str, float] = {}
        self.unreached: set[str] = set()
        self.cut_offs: CutOffs = CutOffs()
        # From a provider's key and a model (None for all) to when its rejection ends, and its length.
        self._rejected: dict[tuple[str, str | None], tuple[float, float]] = {}
        # From the key of a breaker to until when it is put last, and for how long.
        self._slow: dict[str, tuple[float, float]] = {}
        # From the key of a breaker to the label and the size of its first call.
        self._usual_kinds: dict[str, tuple[str | None, float | None]] = {}

    def reject(self, key: str, model: str | None, now: float) -> None:
        """Note that a provider rejected the credentials (`model` is None) or the model."""
        until, length = self._rejected.get((key, model), (now, 0.0))
        if now < until:
            return  # it says no more than the rejection before
        if len(self._rejected) >= _MOST:
            self._rejected.clear()
        length = min(max(2.0 * length, _FIRST), _LONGEST)
        self._rejected[key, model] = now + length, length

    def is_rejected(self, key: str, model: str | None, now: float) -> bool:
        """Whether a provider has rejected the credentials or the model of late."""
        rejected = self._rejected
        return bool(rejected) and (
            now < rejected.get((key, None), (now, 0.0))[0]
            or now < rejected.get((key, model), (now, 0.0))[0]
        )

    def accept(self, key: str, model: str | None) -> None:
        """Note that a provider served a call."""
        if self._rejected:
            self._rejected.pop((key, None), None)
            self._rejected.pop((key, model), None)

    def is_usual_kind(self, breaker: str, label: str | None, size: float | None) -> bool:
        """Whether a call is of the kind of the first one that a breaker saw."""
        if len(self._usual_kinds) >= _MOST:
            self._usual_kinds.clear()
        return self._usual_kinds.setdefault(breaker, (label, size)) == (label, size)

    def note_speed(self, breaker: str, took: float, now: float, *, slow: bool) -> None:
        """Note how long the last answer of a limited breaker took, in seconds, or forget that."""
        if slow:
            length = max(_SLOW_FOR, _SLOW_TIMES * took)
            if len(self._slow) >= _MOST:
                self._slow.clear()
            self._slow[breaker] = now + length, length
        elif self._slow:
            self._slow.pop(breaker, None)

    def is_slow(self, breaker: str, now: float) -> bool:
        """Whether to put a provider last because it is slow; one call now and then finds it out."""
        until, length = self._slow.get(breaker, (-inf, 0.0))
        if now < until:
            return True
        if length:
            self._slow[breaker] = now + length, length  # this call finds it out, not the next one
        return False
