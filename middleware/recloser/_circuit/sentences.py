"""Reasons in plain sentences: why a breaker changed its state, with the numbers that decided."""

from __future__ import annotations

from math import ceil

from recloser._circuit.baseline import Baseline
from recloser._circuit.evidence import Evidence
from recloser._circuit.recovery import Recovery
from recloser._events import Reason
from recloser._policy import Policy
from recloser._redaction import Raised, shown


def seconds(value: float) -> str:
    """Format a duration in seconds, with three digits, as milliseconds or seconds."""
    if value < 0.9995:
        return f"{value * 1000:.3g} ms"
    return f"{value:.3g} s" if value < 999.5 else f"{value:.0f} s"


def _times(value: float) -> str:
    """Format a factor with two digits, or all that are before the point."""
    return f"{value:.2g}" if value < 99.5 else f"{value:.0f}"


def slower_than(baseline: Baseline, policy: Policy) -> str:
    """Describe what slow means for this key."""
    if not baseline.known and baseline.count:
        return f"far slower than the {baseline.count} answers known so far"
    if not baseline.known:
        return f"slower than the ceiling of {seconds(policy.slow_ceiling)}"
    return (
        f"slower than {seconds(baseline.threshold)} = "
        f"{_times(baseline.z_score(baseline.threshold))} sigma over a median of "
        f"{seconds(baseline.median)} = "
        f"{_times(baseline.threshold / baseline.median)} times the median"
    )


def tripped(
    evidence: Evidence, baseline: Baseline, policy: Policy, last_failure: Raised | str
) -> Reason:
    """The reason of an opening by evidence."""
    failed = round(evidence.bad - evidence.slow)
    slow = round(evidence.slow)
    parts: list[str] = []
    if slow > evidence.late:
        parts.append(f"{slow - evidence.late} {slower_than(baseline, policy)}")
    if evidence.late:
        parts.append(f"{evidence.late} in flight for so long that they count as slow")
    if failed:
        # Only one failure is known by what it said, and the others may have said something else.
        told = ": " if failed == 1 else ", the last one: "
        parts.append(f"{failed} failed" + (told + shown(last_failure) if last_failure else ""))
    rule = "bad_calls" if slow else "failures"  # where all are slow, it limits and does not open
    sentence = (
        f"{evidence.bad:.0f} of the last {evidence.calls:.0f} calls were bad "
        f"({'; '.join(parts)}); {evidence.normal_bad_rate:.2g} is the normal share"
    )
    return Reason(
        rule,
        sentence,
        {
            "calls": evidence.calls,
            "bad": evidence.bad,
            "slow": evidence.slow,
            "late": evidence.late,
            "bad_rate": evidence.bad_rate,
            "normal_bad_rate": evidence.normal_bad_rate,
            "evidence": evidence.level,
            "evidence_threshold": evidence.threshold,
            "slow_threshold": baseline.threshold,
            "median": baseline.median,
            "sigma": baseline.sigma,
        },
    )


def limited(size: float, evidence: Evidence, baseline: Baseline, policy: Policy) -> Reason:
    """The reason of a limit."""
    return Reason(
        "limited",
        f"{evidence.slow:.0f} of the last {evidence.calls:.0f} calls were "
        f"{slower_than(baseline, policy)}; at first at most {ceil(size)} calls at a time",
        {
            "limit": size,
            "calls": evidence.calls,
            "slow": evidence.slow,
            "late": evidence.late,
            "evidence": evidence.level,
            "slow_threshold": baseline.threshold,
            "median": baseline.median,
        },
    )


def eased(level: float, size: float) -> Reason:
    """The reason when a limit is not needed any more."""
    return Reason(
        "eased",
        f"calls take {seconds(level)} again, and nobody is refused at {ceil(size)} calls at a time",
        {"median": level, "limit": size},
    )


def not_hung(latency: float) -> Reason:
    """The reason when the first answer shows that a callee of which little is known is slow only."""
    return Reason(
        "eased",
        f"a call was answered after {seconds(latency)}: the callee is slow, and does not hang",
        {"latency": latency},
    )


def sick(level: float, baseline: Baseline, policy: Policy) -> Reason:
    """The reason when fewer calls in flight are as slow as more."""
    return Reason(
        "sick",
        f"calls take {seconds(level)}, {slower_than(baseline, policy)}, however few there are",
        {"median": level, "slow_threshold": baseline.threshold},
    )


def mixed(share: float, baseline: Baseline, policy: Policy) -> Reason:
    """The reason when some calls are slow and others are as fast as ever."""
    return Reason(
        "mixed",
        f"{share:.0%} of the calls are {slower_than(baseline, policy)}, and the others are fast",
        {"slow_share": share},
    )


def comes_back(latency: float, recovery: Recovery, now: float) -> Reason:
    """The reason when a call came back though none was expected to."""
    age = now - recovery.began
    return Reason(
        "comes_back",
        f"a call came back after {seconds(latency)}, {seconds(age)} after the trouble began",
        {"latency": latency, "outage_seconds": age},
    )


def mute(running: int, recovery: Recovery, now: float) -> Reason:
    """The reason when nothing comes back."""
    age = now - recovery.began
    return Reason(
        "mute",
        f"{running} calls are in flight, and none came back for {seconds(age)}",
        {"in_flight": running, "outage_seconds": age},
    )


def failing(recovery: Recovery, now: float) -> Reason:
    """The reason when most calls fail, however few there are."""
    age = now - recovery.began
    return Reason(
        "failing",
        f"for {seconds(age)} most calls fail or do not come back, however few there are",
        {"outage_seconds": age},
    )


def look_again(recovery: Recovery, now: float) -> Reason:
    """The reason of a change to half-open: it is time to send a probe."""
    outage = now - recovery.began
    return Reason(
        "look_again", f"sending a probe after {seconds(outage)}", {"outage_seconds": outage}
    )


def probe_failed(recovery: Recovery, what: Raised | str, now: float) -> Reason:
    """The reason when too many probes were bad; `what` describes the last bad one."""
    good, bad, outage = recovery.good, recovery.bad, now - recovery.began
    return Reason(
        "probe_failed",
        f"still bad after {seconds(outage)}: {bad} of {good + bad} probes were bad ({shown(what)})",
        {"good": good, "bad": bad, "outage_seconds": outage},
    )


def crowded(recovery: Recovery, now: float) -> Reason:
    """The reason when probes fail because there are several at a time."""
    good, bad, outage = recovery.good, recovery.bad, now - recovery.began
    return Reason(
        "crowded",
        f"after {seconds(outage)}: single calls are good, and {bad} of {good + bad} were bad when "
        "there were several at a time",
        {"good": good, "bad": bad, "outage_seconds": outage},
    )


def recovered(recovery: Recovery, now: float) -> Reason:
    """The reason when enough probes were good."""
    good, bad, outage = recovery.good, recovery.bad, now - recovery.began
    return Reason(
        "recovered",
        f"recovered after {seconds(outage)}: {good} of {good + bad} probes were good",
        {"good": good, "bad": bad, "outage_seconds": outage},
    )


def new_normal(median: float, before: float, recovery: Recovery, now: float) -> Reason:
    """The reason when a higher median is accepted; `median` and `before` are seconds."""
    patience = now - recovery.began
    return Reason(
        "new_normal",
        f"slow but working for {seconds(patience)}: the new normal median is {seconds(median)} "
        f"(before: {seconds(before)})",
        {"median": median, "median_before": before, "latency_patience": patience},
    )


def told_to_wait(wait: float, rule: str) -> Reason:
    """The reason when the callee asked for a pause of `wait` seconds."""
    what = "the quota is used up:" if rule == "quota" else "the callee asked for"
    return Reason(rule, f"{what} a pause of {seconds(wait)}", {"wait_seconds": wait})


def by_hand(rule: str, why: str, by: str = "") -> Reason:
    """The reason of a change by an operator.

    Args:
        rule: `manual` or `reset`.
        why: The operator's text.
        by: Who it was; "" if it is not known.
    """
    # repr() keeps control characters of these texts out of logs.
    who = f"by hand by {by!r}" if by else "by hand"
    return Reason(rule, f"{who}: {why!r}" if why else who, by=by)
