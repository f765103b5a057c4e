"""Policy: every setting of a breaker, with its unit, range, default and the default's source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from inspect import iscoroutinefunction

from recloser._outcome import Outcome
from recloser._overrides import checked_share
from recloser._state import Mode
from recloser.hints import belong, knows_fields

# Field -> lowest and highest value allowed, both included.
_RANGES: dict[str, tuple[float, float]] = {
    "failure_threshold_z_score": (0.5, 10.0),
    "min_latency_ratio": (1.0, 1000.0),
    "max_latency_ratio": (1.0, 1000.0),
    "slow_floor": (0.0, 3600.0),
    "slow_ceiling": (0.001, 86400.0),
    "history_size": (50, 1_000_000),
    "history_span": (0.0, 86400.0),
    "min_history": (10, 1_000_000),
    "failure_rate_threshold": (0.05, 1.0),
    "min_failures": (1, 10_000),
    "false_trip_interval": (100.0, 1e15),
    "normal_bad_rate": (0.0001, 0.5),
    "evidence_half_life": (1.0, 86400.0),
    "open_for": (0.001, 3600.0),
    "max_open_for": (0.001, 86400.0),
    "typical_outage": (0.1, 86400.0),
    "jitter": (0.0, 0.5),
    "half_open_requests": (1, 10_000),
    "success_rate_threshold": (0.01, 1.0),
    "latency_patience": (1.0, 86400.0),
    "max_retry_after": (0.0, 86400.0),
    "quota_open_for": (1.0, 604800.0),
}


@knows_fields
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Policy:
    """When a breaker opens, when it sends probes, and when it closes.

    Times are seconds, rates lie in 0.0-1.0, counts are whole calls. The defaults need
    no tuning in the common case: what differs from key to key is learned.

    Args:
        failure_threshold_z_score: A call is slow if its log latency is more than this many standard
            deviations above the median, 0.5-10. The llmkit breaker also uses 2.5; 0.6 % of normal
            calls are slower than that.
        min_latency_ratio: A call is never slow below this multiple of the median, 1-1000,
            however narrow the distribution is. Netflix' Gradient2 tolerates 1.5, but it is a
            limiter. A breaker refuses all calls, so it must be less sensitive.
        max_latency_ratio: A call is always slow above this multiple of the median, 1-1000,
            however wide the distribution is. If such calls are common for a key, that is learned.
            With 3, at least 24 of 28 real faults that tripled the median were noticed; with the
            z-score alone, 8.
        slow_floor: A call is never slow below this latency, 0-3600 s. Users do not notice 50 ms.
            Here slowness begins to matter. It is no outage: answers that are only slow limit.
        slow_ceiling: A call is always slow above this latency, 0.001-86400 s, even if all calls
            are. Before the first answer, a call in flight is overdue after this time.
            resilience4j and interlock treat 60 s as slow.
        history_size: Calls in one generation of the latency history, 50-1,000,000. One to two
            generations are remembered. The llmkit breaker also uses 1,000.
        history_span: Shortest time that a generation lasts, 0-86400 s. Without it, a key with 50
            calls a second forgot in 40 s what was normal, and a gradual slow-down over ten minutes
            was not noticed.
        min_history: Successes before latency is judged at all, 10-1,000,000. A standard deviation
            of fewer than about 30 values means nothing.
        failure_rate_threshold: It opens only if at least this share of the calls since the
            suspicion began was bad (failed or slow), 0.05-1. Below one half, refusing calls harms
            more of them than it saves.
        min_failures: It opens only after at least this many bad calls, 1-10,000. Envoy, Finagle
            and most Python breakers use 5.
        false_trip_interval: Healthy calls between two false openings, by design, 100-1e15. The
            evidence needed follows from it and from what is normal for the key. At a million, a
            key with 50 calls a second may open falsely every six hours; in practice it rarely does.
            It does not hold for a key whose failures come in long runs: a callee that fails 20 times
            in a row counts as dead, so that it is noticed whatever was learned before.
        normal_bad_rate: Share of bad calls (slow or failed) that is assumed to be normal before
            anything was learned, 0.0001-0.5. It weighs like 50 calls. With 0.02, failures from
            the first call on are noticed within five to eight calls.
        evidence_half_life: Seconds of silence in which evidence halves, 1-86400. On a key with few
            calls, it is ten of the usual gaps between them if that is longer.
        open_for: Shortest time that it stays open, 0.001-3600 s, and the time until the first
            probe. At 0.15, a 20 s outage at 2,000 calls a second harmed half as many calls as at
            0.5; a 60 s outage at 50 calls a second harmed equally many.
        max_open_for: Longest time between two rounds of probes, 0.001-86400 s. resilience4j,
            pybreaker and gobreaker wait 60 s each time.
        typical_outage: How long an outage is expected to last at its beginning, 0.1-86400 s. Once
            it has lasted longer, it is expected to last as long again. The time between two rounds
            of probes follows from this.
        jitter: Share by which the times between probes are varied at random, 0-0.5, so that many
            workers do not probe at the same moment. Envoy's users asked for it (envoy#6016).
        half_open_requests: Probes that decide about a recovery, 1-10,000. resilience4j and llmkit
            use 10.
        success_rate_threshold: It closes when this share of the probes was good, 0.01-1, relative
            to the share of good calls that is normal. The llmkit breaker also uses 0.8.
        latency_patience: Time with answers more than 4.5 times as slow as before after which that
            is accepted as the new normal, 1-86400 s. Only a few calls are admitted meanwhile. A
            latency below that is accepted after twice the time, and nobody is refused meanwhile.
        max_retry_after: The longest wait that an upstream may ask for, 0-86400 s. Linkerd limits
            it to 300.
        quota_open_for: How long it stays open if an upstream says that money or quota is used up,
            but not for how long, 1-604800 s.
        mode: `enforce`, `observe` or `disabled` for the keys of this policy; None for the mode of the
            registry or middleware. `RECLOSER_MODE` in the environment is the strictest that it can be.
        enforce_share: The share of callers that is refused, always the same ones, 0-1; None for that
            of the registry. The calls of all others are made, so that a roll-out can begin with few.
        ignore_errors: Exceptions that are no evidence about the callee, in addition to refusals.
        classify_error: Called with each exception that a guarded call raises, before anything else
            judges it. It returns the outcome, such as `Outcome.FAILURE`, or None for the usual rules.

    Raises:
        ValueError: A value out of range, infinite or NaN; the message names field, range, value.
        TypeError: A value of the wrong type, or an unknown field.
    """

    failure_threshold_z_score: float = 2.5
    min_latency_ratio: float = 2.0
    max_latency_ratio: float = 3.0
    slow_floor: float = 0.05
    slow_ceiling: float = 60.0
    history_size: int = 1000
    history_span: float = 600.0
    min_history: int = 30
    failure_rate_threshold: float = 0.5
    min_failures: int = 5
    false_trip_interval: float = 1_000_000.0
    normal_bad_rate: float = 0.02
    evidence_half_life: float = 60.0
    open_for: float = 0.15
    max_open_for: float = 60.0
    typical_outage: float = 60.0
    jitter: float = 0.1
    half_open_requests: int = 10
    success_rate_threshold: float = 0.8
    latency_patience: float = 120.0
    max_retry_after: float = 300.0
    quota_open_for: float = 900.0
    mode: Mode | str | None = None
    enforce_share: float | None = None
    ignore_errors: tuple[type[BaseException], ...] = ()
    classify_error: Callable[[BaseException], Outcome | None] | None = None

    def __repr__(self) -> str:
        """What differs from the defaults: all settings would hide that, in a message as well."""
        settings = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"Policy({', '.join(settings)})"

    def __post_init__(self) -> None:
        counts = {field.name for field in fields(self) if field.type == "int"}
        for name, (low, high) in _RANGES.items():
            _check_number(name, getattr(self, name), low, high, whole=name in counts)
        if self.mode is not None:
            object.__setattr__(self, "mode", Mode(self.mode))
        if self.enforce_share is not None:
            checked_share(self.enforce_share)
        _check_errors(self.ignore_errors)
        _check_classifier(self.classify_error)
        for smaller, larger in (
            ("slow_floor", "slow_ceiling"),
            ("min_latency_ratio", "max_latency_ratio"),
            ("open_for", "max_open_for"),
            ("min_history", "history_size"),
        ):
            if getattr(self, smaller) > getattr(self, larger):
                raise ValueError(
                    f"{smaller} must be at most {larger} ({getattr(self, larger)!r}), "
                    f"not {getattr(self, smaller)!r}"
                )


# Not those that a registry has, too.
belong(_RANGES.keys() | {"ignore_errors", "classify_error"}, "Registry(Policy({}=...))")


def _check_number(name: str, value: object, low: float, high: float, *, whole: bool) -> None:
    kind = "a whole number" if whole else "a number"
    # A bool is an int in Python, but `half_open_requests=True` is a mistake.
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise TypeError(f"{name} must be {kind} from {low:g} to {high:g}, not {value!r}")
    if not low <= value <= high:  # a comparison with NaN is false, so NaN is refused, too
        raise ValueError(f"{name} must be {kind} from {low:g} to {high:g}, not {value!r}")


def _check_errors(errors: tuple[object, ...]) -> None:
    if not isinstance(errors, tuple) or not all(map(_is_error_class, errors)):
        raise TypeError(f"ignore_errors must be a tuple of exception classes, not {errors!r}")


def _check_classifier(function: object) -> None:
    # The coroutine of an async function would be no outcome.
    if function is not None and (
        not callable(function)
        or isinstance(function, type)
        or iscoroutinefunction(function)
        or iscoroutinefunction(type(function).__call__)
    ):
        raise TypeError(
            "classify_error must be a plain function from an exception to an Outcome or None, "
            f"not {function!r}"
        )


def _is_error_class(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)
