"""The detector: when it tests a suspicion on fresh calls, and whom a 429 concerns."""

from __future__ import annotations

import pytest

from recloser import Policy
from recloser._circuit.detector import Detector
from recloser._circuit.in_flight import InFlight
from recloser._circuit.votes import Ending, Vote
from recloser._outcome import Outcome

NORMAL, SLOW = 0.1, 0.3
NOW = 50.0


@pytest.fixture
def young(policy: Policy) -> Detector:
    """It knows that 0.1 s is normal, from few calls."""
    detector = Detector(policy)
    detector.learn_quiet([NORMAL] * 100)
    detector.refresh(NOW)
    return detector


@pytest.fixture
def settled(policy: Policy) -> Detector:
    """The same from many calls."""
    detector = Detector(policy)
    detector.learn_quiet([NORMAL] * 5_000)
    detector.refresh(NOW)
    detector.refresh(NOW)
    assert detector.evidence.is_settled
    return detector


KINDS = {"s": Vote.SLOW, "f": Vote.FAILED, "h": Vote.HUNG}


class Calls:
    """Plays calls to a detector.

    `g` is good, `r` almost as fast as ever, `q` good but slower, `s` slow, `f` failed, and `h` hung.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.token = 10
        self.now = NOW

    def play(self, letters: str, *, began: float | None = None) -> bool:
        """Play until the evidence is enough; return whether it is."""
        return any(self._one(letter, began) for letter in letters)

    def _one(self, letter: str, began: float | None) -> bool:
        self.token += 1
        self.now += 0.02
        latency = {"g": NORMAL, "r": 1.4 * NORMAL, "q": 1.9 * NORMAL, "f": 0.01}.get(letter, SLOW)
        if began is None:
            self.now += latency
        else:
            latency = self.now - began
        if letter in "grq":
            self.detector.good(self.token, latency, self.now, latency)
            return False
        outcome = Outcome.FAILURE if letter == "f" else Outcome.SUCCESS
        ending = Ending(self.token, outcome, latency, self.now)
        return self.detector.vote(KINDS[letter], ending, InFlight())


MIXED = "sg" + "s" * 4 + "g" + "s" * 4 + "g" + "s" * 4 + "g" + "s" * 4


def in_test(detector: Detector, letters: str = MIXED) -> Calls:
    """A suspicion that is tested."""
    calls = Calls(detector)
    for letter in letters * 10:
        assert not calls.play(letter)
        if detector.test is not None:
            return calls
    raise AssertionError("no test began")


# When a suspicion is tested


@pytest.mark.parametrize("letter", "sfh")
def test_where_all_calls_are_bad_nothing_is_in_test(settled: Detector, letter: str) -> None:
    assert Calls(settled).play(letter * 20)
    assert settled.test is None


def test_where_some_calls_are_as_fast_as_ever_and_most_bad_ones_slow_it_is_in_test(
    settled: Detector,
) -> None:
    in_test(settled)


@pytest.mark.parametrize("good", ["g", "r", "q"])
def test_a_call_that_is_not_as_fast_as_ever_is_no_reason_to_test(
    settled: Detector, good: str
) -> None:
    """In a queue, none is."""
    calls = Calls(settled)

    opened = [calls.play(letter) for letter in MIXED.replace("g", good) if settled.test is None]

    assert opened[-1] is (good == "q")
    assert (settled.test is not None) is (good != "q")


def test_five_bad_calls_in_a_row_after_a_fast_one_are_no_mixture(settled: Detector) -> None:
    assert Calls(settled).play(("g" + "s" * 9) * 10)
    assert settled.test is None


def test_calls_from_before_the_suspicion_are_not_of_the_row(settled: Detector) -> None:
    calls = Calls(settled)
    calls.play("sg")
    run = settled._bad_run

    for token in range(1, 6):
        settled.vote(Vote.FAILED, Ending(token, Outcome.FAILURE, 0.01, calls.now), InFlight())
        settled.vote(Vote.LOST, Ending(token, Outcome.FAILURE, 0.01, calls.now), InFlight())

    assert settled._bad_run == run == 0


def test_where_calls_of_a_settled_key_fail_it_opens_without_a_test(settled: Detector) -> None:
    """An opening tells it as well, and sooner."""
    assert Calls(settled).play(MIXED.replace("s", "f") * 10)


def test_where_calls_of_a_young_key_fail_it_is_in_test(young: Detector) -> None:
    """What fails half of the time from its first call on may be meant to."""
    in_test(young, MIXED.replace("s", "f"))


@pytest.mark.parametrize(("letters", "calls"), [("gff", 30), ("gf", 200)])
def test_a_young_key_may_fail_in_two_of_three_calls(
    young: Detector, letters: str, calls: int
) -> None:
    """A quarter of good calls is enough."""
    tests = in_test(young, MIXED.replace("s", "f"))

    for letter in (letters * calls)[:calls]:
        assert not tests.play(letter)


def test_a_young_key_is_rejected_after_seven_bad_calls(young: Detector) -> None:
    tests = in_test(young, MIXED.replace("s", "f"))

    assert not tests.play("f" * 6)
    assert tests.play("f")


# What the test decides


@pytest.mark.parametrize(("good", "over"), [(7, False), (8, True)])
def test_eight_good_calls_end_the_suspicion(settled: Detector, good: int, over: bool) -> None:
    calls = in_test(settled)

    assert not calls.play("g" * good)

    assert (settled.test is None) is over
    assert settled.evidence.idle is over
    assert (settled.held == ()) is over


def test_a_run_that_turns_out_to_be_normal_is_learned(settled: Detector) -> None:
    count, before = settled.baseline.count, settled.evidence.normal_bad_rate
    calls = in_test(settled)
    held = len(settled.held)

    calls.play("g" * 8)

    assert settled.baseline.count == count + held + 8
    assert settled.evidence.normal_bad_rate > before


def test_a_share_of_bad_calls_in_a_test_that_is_passed_becomes_normal(settled: Detector) -> None:
    calls = in_test(settled)

    calls.play("gggfgggfgggggggggfgggggggg")

    assert settled.test is None
    assert settled.evidence.share(0)[1] > 0.03


@pytest.mark.parametrize("letter", "fh")
def test_three_bad_calls_are_enough(settled: Detector, letter: str) -> None:
    calls = in_test(settled)

    assert not calls.play(letter * 2)
    assert calls.play(letter)
    assert settled.test is None


@pytest.mark.parametrize(("letters", "enough"), [("gsgsgsg", False), ("gsgsgsgs", True)])
def test_slow_calls_that_are_in_doubt_after_eight_calls_are_worth_a_limit(
    settled: Detector, letters: str, enough: bool
) -> None:
    """It refuses nobody at first."""
    assert in_test(settled).play(letters) is enough


def test_failures_that_are_in_doubt_are_tested_on(settled: Detector) -> None:
    assert not in_test(settled).play("gf" * 6)
    assert settled.test is not None


def test_only_calls_that_began_in_the_test_count(settled: Detector) -> None:
    calls = in_test(settled)

    assert not calls.play("sfh" * 10, began=calls.now - 0.01)

    assert settled.test is not None
    assert settled.test.calls == 0


@pytest.mark.parametrize("how", ["clear", "restart", "reset"])
def test_no_test_outlives_its_suspicion(settled: Detector, how: str) -> None:
    in_test(settled)

    getattr(settled, how)()

    assert settled.test is None
