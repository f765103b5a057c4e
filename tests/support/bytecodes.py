"""Tests that go through our code bytecode by bytecode, or line by line, and where they are run."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

_ROW, _MEASURED = "py311-core", "measured"
_row = os.environ.get("TOX_ENV_NAME", _ROW)

# For tests that interrupt our code at each line or call in turn. Coverage is a trace function itself:
# where a test sets another one it sees nothing, and what it sees takes four times as long.
not_measured = pytest.mark.skipif(
    _row == _MEASURED,
    reason=f"coverage, and so the row {_MEASURED} of tox, learns hardly anything of these",
)
on_one_python = pytest.mark.skipif(
    _row == _MEASURED or (_row != _ROW and "CI" not in os.environ),
    reason=f"of the rows of tox only {_ROW} runs these; with CI=true all do but {_MEASURED}",
)


def trace_bytecodes(frame: FrameType, trace: Callable[..., Any]) -> Callable[..., Any]:
    """Let a trace function be called at each bytecode of a frame, and at no line; return it."""
    # In this order: CPython 3.13 needs the function first.
    frame.f_trace = trace
    frame.f_trace_opcodes = True
    frame.f_trace_lines = False
    return trace
