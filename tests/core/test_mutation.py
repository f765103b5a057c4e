"""The mutation benchmark: which small changes it makes, and that it changes nothing else."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

# The benchmarks are no part of the wheel that tox tests.
CHECKOUT = Path(__file__).parents[2]
if str(CHECKOUT) not in sys.path:
    sys.path.append(str(CHECKOUT))
pytest.importorskip("benchmarks.mutation")

from benchmarks.mutation.accepted import load_accepted
from benchmarks.mutation.kept import Trace
from benchmarks.mutation.mutants import Mutant, find_mutants
from benchmarks.mutation.selection import Selection
from benchmarks.mutation.targets import GROUPS, ROOT, own_tests


def mutants_of(source: str, tmp_path: Path) -> tuple[list[Mutant], ast.Module]:
    path = tmp_path / "module.py"
    path.write_text(source)
    tree = ast.parse(source)
    return find_mutants("module.py", path, tree), tree


def changes(body: str, tmp_path: Path) -> set[str]:
    """What the statements of a function become."""
    source = "def f(a, b, c):\n" + "".join(f"    {line}\n" for line in body.splitlines())
    return {each.change for each in mutants_of(source, tmp_path)[0]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return a < b", {"a < b -> a <= b", "a < b -> a >= b"}),
        ("return a == b", {"a == b -> a != b"}),
        ("return a not in b", {"a not in b -> a in b"}),
        ("return a and b", {"a and b -> a or b", "a and b -> a", "a and b -> b"}),
        ("return not a", {"not a -> a"}),
        ("return a + b", {"a + b -> a - b"}),
        ("return a * 2.0", {"a * 2.0 -> a / 2.0", "2.0 -> 4.0"}),
        ("return True", {"True -> False"}),
        ("return min(a, b)", {"min(a, b) -> max(a, b)"}),
        (
            "return g(a, b, key=c)",
            {"g(a, b, key=c) -> g(b, a, key=c)", "g(a, b, key=c) -> g(a, b)"},
        ),
        ("return a.lower()", {"a.lower() -> a"}),
        ("return a if b else c", {"a if b else c -> a", "a if b else c -> c"}),
        ("a.clear()", {"a.clear() -> removed"}),
        ("a.b = c", {"a.b = c -> removed"}),
        ("a += b", {"a += b -> a -= b", "a += b -> removed"}),
        ("if a:\n    b.clear()", {"if a -> if True", "b.clear() -> removed"}),
        (
            "if a:\n    b()\nelse:\n    c()",
            {"if a -> if True", "if a -> if False", "b() -> removed", "c() -> removed"},
        ),
        ("raise ValueError('no')", {"raise ValueError('no') -> removed"}),
        (
            "try:\n    a()\nexcept (KeyError, TypeError):\n    b()",
            {"(KeyError, TypeError) -> (KeyError,)"},
        ),
    ],
)
def test_it_makes_the_changes_that_mistakes_are_made_of(
    body: str, expected: set[str], tmp_path: Path
) -> None:
    assert expected <= changes(body, tmp_path)


def test_what_has_no_effect_is_not_changed(tmp_path: Path) -> None:
    source = (
        '"""Text."""\nfrom typing import TYPE_CHECKING, cast\n__all__ = ["f"]\n'
        "if TYPE_CHECKING:\n    import ast\n"
        'A: TypeAlias = Literal["a"]\nB = Literal["b"]\n'
        'class C:\n    """Text."""\n\n    __slots__ = ("a",)\n    b: int\n\n'
        'def f(a: "int") -> "int":\n    """Text."""\n    return cast("int", a)\n'
    )

    found = {each.change for each in mutants_of(source, tmp_path)[0]}

    assert found == {"return cast('int', a) -> return None"}


def test_a_test_that_is_not_there_any_more_is_forgotten() -> None:
    """With what it runs: else each mutant of these lines would count as killed by its absence."""
    seconds = {"kept": 1.0, "gone": 2.0, "also kept": 3.0}
    trace = Trace({}, seconds, {"m": {"1": [-1, 0, 1], "2": [1], "3": [2]}}, ["gone", "kept"])

    trace.forget_others({"kept", "also kept", "new"})

    assert trace.seconds == {"kept": 1.0, "also kept": 3.0}
    assert trace.lines == {"m": {"1": [-1, 0], "2": [], "3": [1]}}
    assert trace.broken == ["kept"]
    assert trace.tests_of("m", range(1, 4)) == {"kept", "also kept"}


def test_what_an_import_runs_is_tried_by_the_tests_of_its_module() -> None:
    own, other = "tests/core/test_m.py::test_a", "tests/core/test_n.py::test_b"
    module = "middleware/recloser/m.py"
    lines = {module: {"1": [-1], "2": [-1, 1], "3": [1]}}
    trace = Trace({}, {own: 0.1, other: 0.2}, lines, [])
    selection = Selection(trace, [own, other], [], 10.0)

    def tests_of(line: int) -> list[str]:
        lines = range(line, line + 1)
        return selection.tests_of(Mutant(module, "f", line, lines, "", "", 0, lambda: None))

    assert [tests_of(line) for line in (1, 2, 3)] == [[own], [own, other], [other]]


def test_the_cheap_cases_of_a_table_are_tried_before_what_takes_long() -> None:
    file = "tests/core/test_m.py"
    cheap = [f"{file}::test_table[{number}]" for number in range(100)]
    slow = [f"{file}::test_client_{number}" for number in range(10)]
    module = "middleware/recloser/m.py"
    seconds = {**dict.fromkeys(slow, 0.8), **dict.fromkeys(cheap, 0.002)}
    selection = Selection(
        Trace({}, seconds, {module: {"1": [*range(110)]}}, []), [*seconds], [], 2.0
    )

    tests = selection.tests_of(Mutant(module, "f", 1, range(1, 2), "", "", 0, lambda: None))

    assert {*tests[:100]} == {*cheap}
    assert len(tests) == 102


def test_each_mutant_is_one_change_that_compiles(tmp_path: Path) -> None:
    source = "def f(a):\n    if a > 1:\n        a += 2\n    return g(a, key=not a)\n"
    count = len(mutants_of(source, tmp_path)[0])
    texts: set[str] = set()
    for number in range(count):
        mutants, tree = mutants_of(source, tmp_path)
        mutants[number].edit()
        compile(tree, "module.py", "exec")
        texts.add(ast.unparse(tree))

    assert len(texts) == count
    assert ast.unparse(ast.parse(source)) not in texts


def test_the_name_of_a_mutant_stays_when_lines_above_are_added(tmp_path: Path) -> None:
    source = "def f(a):\n    return a > 1\n"

    before, _ = mutants_of(source, tmp_path)
    after, _ = mutants_of(f"import os\n\n\n{source}", tmp_path)

    assert [each.name for each in before] == [each.name for each in after]
    assert before[0].line != after[0].line


def test_no_two_mutants_of_a_module_have_the_same_name() -> None:
    for group in GROUPS:
        for module in group.files([]):
            path = ROOT / module
            names = [each.name for each in find_mutants(module, path, ast.parse(path.read_text()))]

            assert len(names) == len({*names}), module


def test_each_accepted_survivor_is_of_a_module_that_is_mutated_and_has_its_reason() -> None:
    modules = {module for group in GROUPS for module in group.files([])}

    for name, reason in load_accepted().items():
        assert name.split("::")[0] in modules
        assert len(reason) > 20


@pytest.mark.parametrize(
    ("module", "tests"),
    [
        ("middleware/recloser/_circuit/pauses.py", "circuit/test_pauses"),
        ("middleware/recloser/_permit.py", "test_permit"),
        ("adapters/recloser_adapters/_outbound/keys.py", "outbound/test_keys"),
    ],
)
def test_the_tests_of_a_module_have_its_name(module: str, tests: str) -> None:
    assert own_tests(module) == tests
