"""Makes small changes in the code, one at a time, and counts those that a test notices.

    python -m benchmarks.mutation --only _circuit/pauses        # one module
    python -m benchmarks.mutation --sample 20 --seed 1          # 20 mutants of each module
    python -m benchmarks.mutation                               # all: hours

Each mutant is tried by the tests that run its line, those of its module first, until one fails. The
tree is not changed, so other work can go on in it. Survivors are printed as the lines that
`accepted.toml` takes. The exit status is 1 if one of them is not accepted there, or if the share
that was killed is below the goal.

Libraries that do this (mutmut, cosmic-ray) write each mutant into a file and start the tests anew:
with 0.7 s to import and collect, and 8,000 mutants, that is the most of their time.
"""

from __future__ import annotations

import argparse
import ast
import random
import sys
from collections.abc import Iterable, Iterator
from functools import partial

from benchmarks.mutation.accepted import load_accepted
from benchmarks.mutation.forks import NEEDS_IMPORT, Attempt, Say, in_fork
from benchmarks.mutation.kept import (
    Trace,
    Verdict,
    add_verdict,
    hash_of,
    load_trace,
    load_verdicts,
    save_trace,
)
from benchmarks.mutation.mutants import Mutant, find_mutants
from benchmarks.mutation.report import print_stale, report
from benchmarks.mutation.selection import Selection, files_of
from benchmarks.mutation.session import Measuring, Trying, TryingOne, run_pytest
from benchmarks.mutation.targets import GROUPS, ROOT, Group

_GOAL = 0.95


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mutation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", default=[], help="modules whose path has this")
    parser.add_argument("--line", type=int, default=0, help="mutants of this line only")
    parser.add_argument("--sample", type=int, default=0, help="so many mutants of each module")
    parser.add_argument("--seed", type=int, default=1, help="which ones; 1 by default")
    parser.add_argument(
        "--budget", type=float, default=10.0, help="seconds of tests for each mutant; 10"
    )
    parser.add_argument("--goal", type=float, default=_GOAL, help="share that must be killed")
    parser.add_argument("--fresh", action="store_true", help="try again what was killed before")
    parser.add_argument("--list", action="store_true", help="print the mutants, try none")
    arguments = parser.parse_args()
    chosen: list[Mutant] = []
    for group in GROUPS:
        run = Run(group, arguments)
        chosen += run.mutants
        if arguments.list:
            print(*(f"{each.module}:{each.line}: {each.change}" for each in run.mutants), sep="\n")
        elif run.mutants:
            run.try_all()
    if not arguments.list:
        accepted = load_accepted()
        status = report(chosen, load_verdicts(), accepted, arguments.goal)
        is_all = not (arguments.only or arguments.sample or arguments.line)
        if is_all and print_stale({each.name for each in chosen}, accepted):
            status = 1
        sys.exit(status)


class Run:
    """The mutants of one group, and what becomes of them."""

    def __init__(self, group: Group, arguments: argparse.Namespace) -> None:
        self._group = group
        self._budget: float = arguments.budget
        self._trees: dict[str, ast.Module] = {}
        self._states: dict[str, str] = {}
        self._heads: dict[str, set[int]] = {}
        self.mutants: list[Mutant] = []
        for name in group.files(arguments.only):
            tree = self._trees[name] = ast.parse((ROOT / name).read_text())
            self._states[name] = hash_of(name)
            self._heads[name] = {
                node.lineno
                for node in ast.walk(tree)
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            }
            found = find_mutants(name, ROOT / name, tree)
            if arguments.line:
                found = [each for each in found if each.line == arguments.line]
            if arguments.sample and arguments.sample < len(found):
                numbers = random.Random(f"{arguments.seed} {name}").sample(
                    range(len(found)), arguments.sample
                )
                found = [found[number] for number in sorted(numbers)]
            self.mutants += found
        known = {} if arguments.fresh else load_verdicts()
        self._open = [each for each in self.mutants if not self._is_killed(known.get(each.name))]

    def _is_killed(self, verdict: Verdict | None) -> bool:
        if verdict is None or not verdict.killed_by:
            return False
        return verdict.state == self._states[verdict.name.split("::")[0]]

    def try_all(self) -> None:
        """Try all mutants that were not killed before."""
        if not self._open:
            return
        in_fork(self._measure)
        trace = self._trace()
        for name in trace.broken:
            print(f"fails without a mutant, so it kills none: {name}", flush=True)
        late = [each for each in self._open if self._is_run_by_calls(each)]
        in_fork(lambda: self._try_together(late, trace))
        verdicts = load_verdicts()
        # What an import runs is not run again: a mutant that survives there must be tried once more,
        # and be there before the import.
        in_time = {
            each.name
            for each in late
            if verdicts[each.name].killed_by != NEEDS_IMPORT
            and (verdicts[each.name].killed_by or not trace.is_imported(each.module, each.lines))
        }
        early = [each for each in self._open if each.name not in in_time]
        selection = Selection(trace, [*trace.seconds], self._group.files([]), self._budget)
        for attempt in self._attempts(early, selection):
            killed_by, count = attempt.run(partial(self._try_one, attempt))
            self._report(attempt.mutant, killed_by, count)

    def _is_run_by_calls(self, mutant: Mutant) -> bool:
        if not mutant.function or mutant.function == "<lambda>":
            return False
        # The defaults of a function are computed when it is defined.
        return mutant.lines.start not in self._heads[mutant.module]

    def _trace(self) -> Trace:
        return load_trace(self._group.name, self._group.files([]))

    def _measure(self) -> None:
        """Measure the tests that are new."""
        known = self._trace()

        def done(trace: Trace) -> None:
            save_trace(self._group.name, trace)

        run_pytest(self._group.arguments, Measuring(self._group.files([]), known, done))

    def _try_together(self, mutants: list[Mutant], trace: Trace) -> None:
        def attempts(collected: list[str]) -> Iterator[Attempt]:
            selection = Selection(trace, collected, self._group.files([]), self._budget)
            return self._attempts(mutants, selection)

        run_pytest(self._group.arguments, Trying(attempts, self._trees.__getitem__, self._report))

    def _attempts(self, mutants: Iterable[Mutant], selection: Selection) -> Iterator[Attempt]:
        for mutant in mutants:
            tests = selection.tests_of(mutant)
            yield Attempt(mutant, tests, selection.seconds)
            selection.kills[self._killed_by] += 1

    _killed_by = ""

    def _report(self, mutant: Mutant, killed_by: str, count: int) -> None:
        self._killed_by = killed_by
        state = self._states[mutant.module]
        add_verdict(Verdict(mutant.name, state, mutant.line, killed_by, count))
        mark = "killed  " if killed_by else "SURVIVED"
        print(f"{mark} {mutant.module}:{mutant.line}: {mutant.change}", flush=True)

    def _try_one(self, attempt: Attempt, say: Say) -> None:
        tree = self._trees[attempt.mutant.module]
        run_pytest(files_of(attempt.tests), TryingOne(attempt, tree, say))


if __name__ == "__main__":
    main()
