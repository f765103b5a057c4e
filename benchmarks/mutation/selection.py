"""Which tests are tried on a mutant, and in which order."""

from __future__ import annotations

import ast
from collections import Counter

from benchmarks.mutation.kept import Trace
from benchmarks.mutation.mutants import Mutant
from benchmarks.mutation.targets import ROOT, is_play, own_tests

# Seconds of a test that costs next to nothing. Without such a bound, one real connection to a server
# would take the budget of a hundred cases of a table.
_CHEAP = 0.02


class Selection:
    """Chooses tests by what they run.

    Args:
        trace: Which tests run which lines.
        collected: Names of all tests.
        files: The modules of the group, as paths from the root.
        budget: Seconds of tests for each mutant.
    """

    def __init__(self, trace: Trace, collected: list[str], files: list[str], budget: float) -> None:
        self._trace = trace
        self._budget = budget
        self._trees = {name: ast.parse((ROOT / name).read_text()) for name in files}
        broken = {*trace.broken}
        self._collected = [name for name in collected if name not in broken]
        # The how manyth of its function a case is: other functions show more than other cases.
        counts: Counter[str] = Counter()
        self._rank: dict[str, int] = {}
        for name in sorted(self._collected, key=self._seconds):
            function = name.split("[")[0]
            self._rank[name] = counts[function]
            counts[function] += 1
        self.kills: Counter[str] = Counter()

    @property
    def seconds(self) -> dict[str, float]:
        """How long each test takes without a mutant."""
        return self._trace.seconds

    def _seconds(self, name: str) -> float:
        return self._trace.seconds.get(name, 0.0)

    def tests_of(self, mutant: Mutant) -> list[str]:
        """The tests to try: those of the module first, and of these the cheap ones; then recorded
        plays, which all are tried; then what kills much, then what is fast.
        """
        running = self._running(mutant)
        chosen = [name for name in self._collected if name in running]
        chosen.sort(
            key=lambda name: (
                not self._is_own(name, mutant),
                not is_play(name),
                self._seconds(name) > _CHEAP,
                -self.kills[name],
                self._rank[name],
                self._seconds(name),
            )
        )
        tests, left = [], self._budget
        for name in chosen:
            if is_play(name):  # each is short, and they show what nothing else does
                tests.append(name)
            elif self._seconds(name) <= left:
                left -= self._seconds(name)
                tests.append(name)
        return tests

    def _running(self, mutant: Mutant) -> set[str]:
        running = self._trace.tests_of(mutant.module, mutant.lines)
        own = {name for name in self._collected if self._is_own(name, mutant)}
        if mutant.function:
            # What an import runs, no test runs; those of the module may see what it did.
            is_imported = self._trace.is_imported(mutant.module, mutant.lines)
            return running | own if is_imported else running
        # A constant: the tests that run a line which names it, and those of the module, which may
        # read it themselves.
        names = self._names(mutant)
        for module, tree in self._trees.items():
            for node in ast.walk(tree):
                name = (
                    node.id
                    if isinstance(node, ast.Name)
                    else node.attr
                    if isinstance(node, ast.Attribute)
                    else None
                )
                if name in names and isinstance(node, ast.expr):
                    running |= self._trace.tests_of(
                        module, range(node.lineno, (node.end_lineno or node.lineno) + 1)
                    )
        return running | own if running else own | self._of_module(mutant.module)

    @staticmethod
    def _is_own(test: str, mutant: Mutant) -> bool:
        return f"/{own_tests(mutant.module)}" in test.split("::")[0]

    def _names(self, mutant: Mutant) -> set[str]:
        for node in ast.walk(self._trees[mutant.module]):
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.lineno == mutant.lines.start:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                return {
                    each.id
                    for target in targets
                    for each in ast.walk(target)
                    if isinstance(each, ast.Name)
                }
        return set()

    def _of_module(self, module: str) -> set[str]:
        lines = [int(line) for line in self._trace.lines.get(module, {})]
        return self._trace.tests_of(module, range(min(lines), max(lines) + 1)) if lines else set()


def files_of(tests: list[str]) -> list[str]:
    """The files that some tests are in, in the same order."""
    return [*dict.fromkeys(name.split("::")[0] for name in tests)]
