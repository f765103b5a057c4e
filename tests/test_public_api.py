"""The public names and their signatures are those that are written down."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_no_public_name_changes_unnoticed() -> None:
    """If it was meant: `python .ci/generate_public_api.py`, and a line in CHANGELOG.md."""
    pytest.importorskip("griffe", reason="griffelib reads the sources")
    generator = runpy.run_path(str(ROOT / ".ci" / "generate_public_api.py"))

    found = set(generator["public_api"]().splitlines())
    written = set((ROOT / "tests" / "public_api.txt").read_text().splitlines())

    assert sorted(found - written) == []
    assert sorted(written - found) == []
