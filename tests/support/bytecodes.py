"""Tests that go through our code bytecode by bytecode, and take half a minute."""

from __future__ import annotations

import os
import sys

import pytest

on_one_python = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) and "CI" not in os.environ,
    reason="each Python has its own bytecodes: 3.11 here, all of them with CI=true",
)
