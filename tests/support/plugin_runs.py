"""Runs tests with the plugin, as a project does that has recloser installed."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from pathlib import Path
from textwrap import dedent

import pytest

import recloser
import recloser_adapters

INSTALLED = any(each.name == "recloser" for each in entry_points(group="pytest11"))
# In a checkout that is not installed, pytest does not find it by itself.
LOADED = () if INSTALLED else ("-p", "recloser_adapters.pytest")


_ROOTS = [str(Path(str(each.__file__)).parents[1]) for each in (recloser, recloser_adapters)]


def run_apart(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, *options: str
) -> pytest.RunResult:
    """Run pytest in a process of its own, in the folder of the test."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(_ROOTS))
    return pytester.runpytest_subprocess(*options, "-p", "no:cacheprovider", "-W", "error")


def passed(pytester: pytest.Pytester, source: str, *, tests: int = 1) -> None:
    """Run the tests of a file; all must pass."""
    result = run(pytester, source)
    result.assert_outcomes(passed=tests)


def failure(pytester: pytest.Pytester, source: str) -> str:
    """Run the one test of a file, which must fail; what pytest says of it."""
    result = run(pytester, source)
    result.assert_outcomes(failed=1)
    return result.stdout.str()


def run(pytester: pytest.Pytester, source: str) -> pytest.RunResult:
    """Run the tests of a file in this process."""
    pytester.makepyfile(dedent(source))
    return pytester.runpytest_inprocess(*LOADED, "-p", "no:cacheprovider", "-W", "error")
