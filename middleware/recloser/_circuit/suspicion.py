"""The suspicion: what a closed breaker knows of the calls since the first bad one."""

from __future__ import annotations

from recloser._circuit import votes
from recloser._circuit.enough import enough_good
from recloser._circuit.evidence import Evidence
from recloser._circuit.in_flight import InFlight
from recloser._circuit.outliving import Outliving
from recloser._circuit.share_test import ShareTest
from recloser._circuit.votes import Ending, Vote
from recloser._policy import Policy

# If slow calls are still in doubt after this many calls of a test, a limit is worth a try.
_DOUBTED = 8


class Suspicion:
    """The suspicion of one key.

    Args:
        since: The token of its first call.

    Attributes:
        test: If some calls are as fast as ever: the test of the calls since it seemed to be enough,
            which the suspicion has not selected. None otherwise.
        outliving: The calls that have outlived those that failed, and count as good.
    """

    __slots__ = ("outliving", "test")

    def __init__(self, since: int) -> None:
        self.outliving = Outliving(since)
        self.restart()

    def restart(self) -> None:
        """Begin anew in the same run of calls."""
        self.test: ShareTest | None = None

    def outlive(self, ending: Ending, calls: InFlight) -> int:
        """Note a call that failed; return how many have outlived those that failed since then."""
        self.outliving.note_failed(ending)
        return len(self.outliving.count(calls, ending.now))

    def begin_test(self, evidence: Evidence, policy: Policy, calls: InFlight, now: float) -> None:
        """Test the calls from now on: the present ones were selected by their run of bad calls."""
        # For the first thousand good calls of a key, not only for the first fifty as among probes
        # (`Lifecycle.enough_probes`): until then, what was learned is not relied on.
        lenient = not evidence.is_settled
        self.test = ShareTest(enough_good(policy, evidence.normal_bad_rate, lenient=lenient))
        self.test.since = now
        self.outliving.latest = max(calls.voting.copy(), default=self.outliving.latest)

    def take_back(self, ending: Ending) -> None:
        """Note a call that was not answered well: it may have been counted as good before its end."""
        is_taken_back = self.outliving.take_back(ending.token)
        if is_taken_back and self.test is not None and ending.now - ending.took >= self.test.since:
            self.test.good -= 1

    def judge(self, test: ShareTest, vote: Vote, ending: Ending) -> bool | None:
        """Count a call in the test; return whether enough are good, or None while that is open."""
        if ending.now - ending.took < test.since:
            return None
        if vote is votes.GOOD:
            test.good += ending.token > self.outliving.latest
            self.outliving.note_answered(ending.token)
        elif vote is votes.FAILED:
            self.take_back(ending)
            test.failed += 1
        elif vote is votes.SLOW or vote is votes.HUNG:
            self.take_back(ending)
            test.slow += 1
        enough = test.is_enough
        if enough is None and test.calls >= _DOUBTED and 2 * test.slow >= test.slow + test.failed:
            return False  # a limit refuses nobody at first
        return enough
