"""What is kept between runs: which tests run which lines, and the verdicts.

CPU time is what mutation costs. What each test runs is measured once for a state of the modules. A
mutant that was killed stays killed until its module changes: tests are added, hardly ever removed.
Survivors are tried again each time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from benchmarks.mutation.targets import ROOT

FOLDER = ROOT / ".mutation"


@dataclass(slots=True)
class Trace:
    """Which tests run which lines.

    Attributes:
        states: Module to its hash when this was measured.
        seconds: How long each test took.
        lines: Module to line to the tests that run it; a test is the number of its name in
            `seconds`. `-1` stands for the import.
        broken: Tests that fail without a mutant.
    """

    states: dict[str, str]
    seconds: dict[str, float]
    lines: dict[str, dict[str, list[int]]]
    broken: list[str]

    def tests_of(self, module: str, lines: range) -> set[str]:
        """The tests that run at least one of some lines; those of the import are not in it."""
        names = [*self.seconds]
        of_module = self.lines.get(module, {})
        found = {each for line in lines for each in of_module.get(str(line), [])}
        return {names[each] for each in found if each >= 0}

    def forget_others(self, collected: set[str]) -> None:
        """Forget the tests that are not there any more, such as one that has a new name."""
        names = [*self.seconds]
        self.seconds = {name: self.seconds[name] for name in names if name in collected}
        self.broken = [name for name in self.broken if name in collected]
        numbers = {name: index for index, name in enumerate(self.seconds)}
        for of_module in self.lines.values():
            for line, tests in of_module.items():
                left = [each for each in tests if each < 0 or names[each] in collected]
                of_module[line] = [each if each < 0 else numbers[names[each]] for each in left]

    def is_imported(self, module: str, lines: range) -> bool:
        """Whether one of the lines was run when the module, or a test, was imported."""
        of_module = self.lines.get(module, {})
        return any(-1 in of_module.get(str(line), []) for line in lines)


def hash_of(module: str) -> str:
    """A hash of what a module contains; its path from the root of the repository."""
    return sha256((ROOT / module).read_bytes()).hexdigest()[:16]


def load_trace(group: str, modules: list[str]) -> Trace:
    """The trace of a group; an empty one if there is none of these modules as they are now."""
    states = {name: hash_of(name) for name in modules}
    path = FOLDER / f"{group}.trace.json"
    if path.exists():
        trace = Trace(**json.loads(path.read_text()))
        if states.items() <= trace.states.items():
            return trace
    return Trace(states, {}, {}, [])


def save_trace(group: str, trace: Trace) -> None:
    """Keep the trace of a group."""
    values = {name: getattr(trace, name) for name in Trace.__slots__}
    _write(FOLDER / f"{group}.trace.json", json.dumps(values))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant.

    Attributes:
        name: Of the mutant.
        state: Hash of its module.
        line: Number of its line then.
        killed_by: The test that failed, or what else ended it; empty for a survivor.
        tests: How many tests were run.
    """

    name: str
    state: str
    line: int
    killed_by: str
    tests: int


def load_verdicts() -> dict[str, Verdict]:
    """The latest verdict of each mutant, by its name."""
    path = FOLDER / "verdicts.jsonl"
    if not path.exists():
        return {}
    verdicts = (Verdict(**json.loads(line)) for line in path.read_text().splitlines())
    return {verdict.name: verdict for verdict in verdicts}


def add_verdict(verdict: Verdict) -> None:
    """Keep one more verdict."""
    FOLDER.mkdir(exist_ok=True)
    values = {name: getattr(verdict, name) for name in Verdict.__slots__}
    with (FOLDER / "verdicts.jsonl").open("a") as file:
        file.write(json.dumps(values) + "\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
