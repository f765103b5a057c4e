"""Tests that go through our code bytecode by bytecode, and take half a minute."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

_ROW = "py311-core"

on_one_python = pytest.mark.skipif(
    os.environ.get("TOX_ENV_NAME", _ROW) != _ROW and "CI" not in os.environ,
    reason=f"of the rows of tox only {_ROW} runs these; all of them do with CI=true",
)


def trace_bytecodes(frame: FrameType, trace: Callable[..., Any]) -> Callable[..., Any]:
    """Let a trace function be called at each bytecode of a frame, and at no line; return it."""
    # In this order: CPython 3.13 needs the function first.
    frame.f_trace = trace
    frame.f_trace_opcodes = True
    frame.f_trace_lines = False
    return trace
