"""Pytest sessions of this tool: one that measures, one that tries mutants, one for a single mutant.

Tests are collected once. Each mutant gets a forked process, in which the code of its function is
replaced: no file is changed, and no mutant can leave anything behind for the next one. A mutant
outside of functions, or in a function that is called by an import, gets a process of its own that
collects its tests anew.
"""

from __future__ import annotations

import ast
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import perf_counter
from types import CodeType, FunctionType, ModuleType

import pytest

from benchmarks.mutation.forks import Attempt, Say
from benchmarks.mutation.kept import Trace
from benchmarks.mutation.mutants import Mutant
from benchmarks.mutation.targets import ROOT, SOURCE_ROOTS

# Bytes of memory that a mutant may have beside what is there.
_MEMORY = 2 << 30


def run_pytest(arguments: Sequence[str], plugin: object) -> None:
    """Collect tests and leave the rest to a plugin; in this process."""
    os.chdir(ROOT)
    roots = [str(ROOT / root) for root in SOURCE_ROOTS]
    sys.path[:0] = [*roots, str(ROOT)]
    os.environ["PYTHONPATH"] = os.pathsep.join([*roots, str(ROOT)])
    options = ["-s", "-p", "no:cacheprovider", "-p", "no:terminal"]
    # Ours need a terminal reporter, which would write between our lines.
    options += ["-o", "addopts=--import-mode=importlib"]
    pytest.main([*arguments, *options], plugins=[plugin, _Repeatable()])


class _Repeatable:
    """The same examples of hypothesis in each run."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        from hypothesis import settings

        settings.register_profile(
            "mutation", settings.get_profile("patient"), derandomize=True, database=None
        )
        settings.load_profile("mutation")


class Measuring:
    """Runs each test once, and records the lines of the modules that it runs.

    Args:
        files: The modules, as paths from the root of the repository.
        known: What is known already: only other tests are run, and added to it.
        done: Is called with the trace at the end.
    """

    def __init__(self, files: list[str], known: Trace, done: Callable[[Trace], None]) -> None:
        import coverage

        self._paths = {str(ROOT / name): name for name in files}
        self._trace = known
        self._done = done
        self._failed = False
        self._coverage = coverage.Coverage(
            data_file=None, include=[*self._paths], config_file=False, messages=False
        )
        if not known.seconds:
            self._coverage.start()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed = self._failed or report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._coverage.stop()
        limit_memory()  # as for a mutant: a test that does not bear it is no judge
        self._trace.forget_others({item.nodeid for item in session.items})
        seconds = self._trace.seconds
        again, self._trace.broken = {*self._trace.broken}, []
        items = [
            item for item in session.items if item.nodeid not in seconds or item.nodeid in again
        ]
        for index, item in enumerate(items):
            self._failed = False
            seconds[item.nodeid] = 0.0
            # A test that sets a tracer of its own ends ours; so it is started for each one.
            self._coverage.start()
            self._coverage.switch_context(item.nodeid)
            began = perf_counter()
            following = items[index + 1] if index + 1 < len(items) else None
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            seconds[item.nodeid] = round(perf_counter() - began, 4)
            self._coverage.stop()
            if self._failed:
                self._trace.broken.append(item.nodeid)
        self._add_lines()
        self._done(self._trace)
        return True

    def _add_lines(self) -> None:
        numbers = {name: index for index, name in enumerate(self._trace.seconds)}
        data = self._coverage.get_data()
        for path in data.measured_files():
            if path not in self._paths:
                continue
            of_module = self._trace.lines.setdefault(self._paths[path], {})
            for line, contexts in data.contexts_by_lineno(path).items():
                known = of_module.setdefault(str(line), [])
                known += [numbers.get(context, -1) for context in contexts]


class Trying:
    """Tries mutants one after the other, each in a forked process.

    Args:
        attempts: The mutants with the names of their tests, from what was collected.
        tree_of: Returns the syntax tree of a module.
        report: Is called with each mutant, what killed it, and the number of tests run.
    """

    def __init__(
        self,
        attempts: Callable[[list[str]], Iterable[Attempt]],
        tree_of: Callable[[str], ast.Module],
        report: Callable[[Mutant, str, int], None],
    ) -> None:
        self._attempts = attempts
        self._tree_of = tree_of
        self._report = report
        self._say: Say | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self._say is not None:
            self._say.killed_by(report.nodeid)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        functions = _functions()
        gc.collect()
        gc.freeze()
        for attempt in self._attempts([*items]):

            def run(say: Say, attempt: Attempt = attempt) -> None:
                self._say = say
                attempt.mutant.edit()
                path = str(ROOT / attempt.mutant.module)
                code = compile(
                    self._tree_of(attempt.mutant.module), path, "exec", dont_inherit=True
                )
                limit_memory()
                if not _replace(functions, code):
                    say.needs_import()
                _run_items([items[name] for name in attempt.tests], say)

            killed_by, count = attempt.run(run)
            self._report(attempt.mutant, killed_by, count)
        return True


class TryingOne:
    """Tries one mutant in this process, by the tests that are collected after it was made."""

    def __init__(self, attempt: Attempt, tree: ast.Module, say: Say) -> None:
        self._say = say
        self._tests = attempt.tests
        limit_memory()
        attempt.mutant.edit()
        self._finder = _Finder(attempt.mutant.module, tree)

    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests(self) -> None:
        # Not earlier: pytest puts its own finder first, which takes `share_test.py` for a test.
        sys.meta_path.insert(0, self._finder)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._say.killed_by(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._say.killed_by(f"import: {report.nodeid}")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        # What a constant is may be part of the name of a test.
        if gone := [name for name in self._tests if name not in items]:
            self._say.killed_by(f"not collected: {gone[0]}")
        _run_items([items[name] for name in self._tests], self._say)
        return True


class _Finder(importlib.abc.MetaPathFinder):
    """Imports one module from a syntax tree that has the mutant, not from its file."""

    def __init__(self, module: str, tree: ast.Module) -> None:
        self._path = ROOT / module
        # Without its first folder the path is the name for imports.
        self._name = ".".join(self._path.relative_to(ROOT).with_suffix("").parts[1:])
        self._tree = tree

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(
            fullname, self._path, loader=_Loader(fullname, str(self._path), self._tree)
        )


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, tree: ast.Module) -> None:
        super().__init__(fullname, path)
        self._tree = tree

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._tree, self.path, "exec", dont_inherit=True)


def limit_memory() -> None:
    """A mutant that fills the memory gets a MemoryError."""
    # Not RLIMIT_AS: each thread reserves much that it never uses.
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[5])
    limit = pages * resource.getpagesize() + _MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _run_items(items: list[pytest.Item], say: Say) -> None:
    for index, item in enumerate(items):
        say.begins(item.nodeid)
        following = items[index + 1] if index + 1 < len(items) else None
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
    say.survived()


_Key = tuple[str, int, str]


def _functions() -> dict[_Key, list[FunctionType]]:
    """All functions that exist, by where they were defined."""
    found: dict[_Key, list[FunctionType]] = {}
    for each in gc.get_objects():
        if isinstance(each, FunctionType):
            found.setdefault(_key(each.__code__), []).append(each)
    return found


def _key(code: CodeType) -> _Key:
    return code.co_filename, code.co_firstlineno, code.co_qualname


def _replace(functions: dict[_Key, list[FunctionType]], module: CodeType) -> bool:
    """Give functions their new code; return whether all that is new could be given."""
    codes = [*_codes(module)]
    same_place = Counter(map(_key, codes))
    for code in codes:
        for function in functions.get(_key(code), []):
            if function.__code__ == code:
                continue
            if function.__code__.co_freevars != code.co_freevars or same_place[_key(code)] > 1:
                return False
            function.__code__ = code
    return True


def _codes(code: CodeType) -> Iterator[CodeType]:
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield const
            yield from _codes(const)
