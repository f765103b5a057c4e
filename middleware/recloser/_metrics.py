"""What a breaker shows of itself: figures for machines, one sentence for people."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING

from recloser._circuit import sentences
from recloser._state import Mode, State

if TYPE_CHECKING:
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
        calls: Calls asked for, refused ones included.
        successes: Calls that answered, slow ones included.
        failures: Calls that failed.
        slow: Calls that answered above the slow threshold of their time.
        throttled: Calls answered with "later".
        ignored: Calls that said nothing, by the caller's own fault.
        cancelled: Calls that the caller left.
        refused: Calls refused; in mode observe, that would have been.
        in_flight: Permits given out and not ended.
        count: Calls that ended with a success or a failure: what the next three speak of.
        mean: Mean latency of those.
        standard_deviation: Standard deviation of their latency.
        error_rate: Share of failures among them.
        p50: Median latency of the good calls in the history; 0.0 while there are none.
        p90: Latency that 90 % of them stayed below.
        p99: Latency that 99 % of them stayed below.
        slow_threshold: A latency above this is slow.
        normal_bad_rate: Share of bad calls that is normal for this key.
        evidence: Evidence that calls are no longer as they normally are, in nats, >= 0.0.
        evidence_threshold: The evidence at which it opens, in nats.
        generation: Changes of state so far.
        retry_after: Seconds until a call may be admitted; 0.0 when one would be now.
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
    in_flight: int
    count: int
    mean: float
    standard_deviation: float
    error_rate: float
    p50: float
    p90: float
    p99: float
    slow_threshold: float
    normal_bad_rate: float
    evidence: float
    evidence_threshold: float
    generation: int
    retry_after: float


def measure(key: str, mode: Mode, circuit: Circuit, retry_after: float) -> Metrics:
    """Read the figures off a circuit; the caller holds the lock."""
    counts, detector = circuit.counts, circuit.detector
    count = counts.successes + counts.failures
    mean = counts.latency_sum / count if count else 0.0
    variance = counts.latency_squares / count - mean * mean if count else 0.0
    history = detector.baseline.history()
    history.add(detector.held)
    p50, p90, p99 = history.quantiles(0.5, 0.9, 0.99)
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
        in_flight=len(circuit.calls),
        count=count,
        mean=mean,
        standard_deviation=sqrt(max(variance, 0.0)),
        error_rate=counts.failures / count if count else 0.0,
        p50=p50,
        p90=p90,
        p99=p99,
        slow_threshold=detector.baseline.threshold,
        normal_bad_rate=detector.evidence.normal_bad_rate,
        evidence=detector.evidence.level,
        evidence_threshold=detector.evidence.threshold,
        generation=circuit.generation,
        retry_after=retry_after,
    )


def explain(mode: Mode, circuit: Circuit, policy: Policy, now: float) -> str:
    """Say what a circuit does and which numbers decided; the caller holds the lock."""
    sentence = _explain_state(circuit, policy, now)
    if mode is Mode.ENFORCE:
        return sentence
    return f"{mode.value}, nothing is refused; {sentence}"


def _explain_state(circuit: Circuit, policy: Policy, now: float) -> str:
    if circuit.state is State.OPEN:
        left = circuit.wait(now)
        if not left:
            return f"open, and the next call is a probe: {circuit.reason}"
        until = "until told otherwise" if left == inf else f"for {sentences.seconds(left)} more"
        return f"open {until}: {circuit.reason}"
    recovery, evidence = circuit.recovery, circuit.detector.evidence
    if recovery is not None:
        return (
            f"half-open: {recovery.good} good and {recovery.bad} bad probes of "
            f"{recovery.needed(evidence.normal_bad_rate)} good ones, {recovery.window} at a time"
        )
    slow = sentences.slower_than(circuit.detector.baseline, policy)
    normal = f"bad is failed or {slow}, and a share of {evidence.normal_bad_rate:.2g} is normal"
    if evidence.level == 0.0:
        return f"closed: {normal}"
    return (
        f"closed, but {evidence.bad:.0f} of the last {evidence.calls:.0f} calls were bad, "
        f"evidence {evidence.level:.1f} of {evidence.threshold:.1f}: {normal}"
    )
