"""Metrics of a breaker for machines, and its explanation in one sentence for people."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, sqrt
from typing import TYPE_CHECKING

from recloser._circuit import sentences
from recloser._state import Mode, State

if TYPE_CHECKING:
    from recloser._circuit.limit import Limit
    from recloser._circuit.machine import Circuit
    from recloser._policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Figures of one breaker at one moment.

    Latencies are seconds, rates lie in 0.0-1.0. Counts are totals since the breaker was made.

    Attributes:
        key: The breaker's key.
        state: What is done with the next call.
        mode: Whether it refuses, only reports, or does nothing.
        calls: All calls, including refused ones and those in flight.
        successes: Calls that were answered, including slow ones.
        failures: Calls that failed.
        slow: Answered calls that took longer than the slow threshold at that time.
        throttled: Calls that the callee answered by asking for a later call.
        ignored: Calls that are no evidence, because the caller caused the error.
        cancelled: Calls that the caller cancelled.
        refused: Calls that were refused or, in mode `observe`, would have been.
        spared: Calls among `refused` that were made all the same: it only observed, or their callers
            were not of the share that is refused.
        spared_good: How many of these have succeeded: refusing them would have done harm.
        in_flight: Calls that have begun and not ended.
        count: Successes and failures. The next three figures are about these calls.
        mean: Their mean latency.
        standard_deviation: The standard deviation of their latency.
        error_rate: The share of failures among them.
        p50: Median latency of the good calls in the history; 0.0 while there are none.
        p90: 90 % of those calls were faster than this latency.
        p95: 95 % of those calls were faster than this latency.
        p99: 99 % of those calls were faster than this latency.
        slow_threshold: A latency above this is slow.
        normal_bad_rate: Share of bad calls that is normal for this key.
        evidence: Evidence that calls are no longer normal, in nats, 0.0 to `evidence_threshold`.
        evidence_threshold: The evidence that is needed to open, in nats.
        generation: Number of generations that have begun after the first.
        retry_after: Seconds until a call may be admitted; 0.0 if one would be admitted now.
        limit: How many calls may be in flight while it is limited; infinite otherwise.
        since: Seconds since the state changed last; infinite if it never did.
        enforce_share: The share of callers that it refuses.
    """

    key: str
    state: State
    mode: Mode
    calls: int
    successes: int
    failures: int
    slow: int
    throttled: int
    ignored: int
    cancelled: int
    refused: int
    spared: int
    spared_good: int
    in_flight: int
    count: int
    mean: float
    standard_deviation: float
    error_rate: float
    p50: float
    p90: float
    p95: float
    p99: float
    slow_threshold: float
    normal_bad_rate: float
    evidence: float
    evidence_threshold: float
    generation: int
    retry_after: float
    limit: float
    since: float
    enforce_share: float


def measure(
    key: str, mode: Mode, enforce_share: float, circuit: Circuit, retry_after: float, now: float
) -> Metrics:
    """Read the metrics of a circuit at `now` seconds; the caller must hold the lock."""
    counts, detector = circuit.counts, circuit.detector
    count = counts.successes + counts.failures
    mean = counts.latency_sum / count if count else 0.0
    variance = counts.latency_squares / count - mean * mean if count else 0.0
    history = detector.baseline.history()
    history.add(detector.held)
    p50, p90, p95, p99 = history.quantiles(0.5, 0.9, 0.95, 0.99)
    return Metrics(
        key=key,
        state=circuit.state,
        mode=mode,
        calls=circuit.asked,
        successes=counts.successes,
        failures=counts.failures,
        slow=counts.slow,
        throttled=counts.throttled,
        ignored=counts.ignored,
        cancelled=counts.cancelled,
        refused=counts.refused,
        spared=counts.spared,
        spared_good=counts.spared_good,
        in_flight=len(circuit.calls),
        count=count,
        mean=mean,
        standard_deviation=sqrt(max(variance, 0.0)),
        error_rate=counts.failures / count if count else 0.0,
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        slow_threshold=detector.baseline.threshold,
        normal_bad_rate=detector.evidence.normal_bad_rate,
        evidence=detector.evidence.level,
        evidence_threshold=detector.evidence.threshold,
        generation=circuit.generation,
        retry_after=retry_after,
        limit=inf if circuit.limit is None else circuit.limit.size,
        since=max(0.0, now - circuit.changed_at),
        enforce_share=enforce_share,
    )


def explain(mode: Mode, circuit: Circuit, policy: Policy, now: float) -> str:
    """Describe what a circuit does and which numbers decided; the caller must hold the lock."""
    sentence = _explain_state(circuit, policy, now)
    if mode is Mode.ENFORCE:
        return sentence
    return f"{mode.value}, nothing is refused; {sentence}"


def _explain_limit(limit: Limit) -> str:
    if limit.sends_singly:
        return "one call at a time"
    if limit.is_pausing:
        return f"one call at a time, with pauses of {sentences.seconds(limit.pauses)}"
    return f"at most {ceil(limit.size)} calls at a time"


def _explain_state(circuit: Circuit, policy: Policy, now: float) -> str:
    if circuit.state is State.OPEN:
        left = circuit.wait(now)
        if not left:
            return f"open, and the next call is a probe: {circuit.reason}"
        until = "until told otherwise" if left == inf else f"for {sentences.seconds(left)} more"
        return f"open {until}: {circuit.reason}"
    recovery, evidence = circuit.recovery, circuit.detector.evidence
    if circuit.limit is not None:
        return f"limited: {_explain_limit(circuit.limit)}, {circuit.running} in flight: {circuit.reason}"
    if recovery is not None:
        return (
            f"half-open: {recovery.good} good and {recovery.bad} bad probes of "
            f"{recovery.needed(circuit.counts.concurrency, evidence.normal_bad_rate)} good ones needed, "
            f"at most {recovery.places} at a time"
        )
    slow = sentences.slower_than(circuit.detector.baseline, policy)
    normal = f"bad is failed or {slow}; a bad share of {evidence.normal_bad_rate:.2g} is normal"
    if evidence.level == 0.0:
        return f"closed: {normal}"
    return (
        f"closed, but {evidence.bad:.0f} of the last {evidence.calls:.0f} calls were bad, "
        f"evidence {evidence.level:.1f} of {evidence.threshold:.1f} needed to open: {normal}"
    )
