"""What every test here shares."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout: tests of the README, the examples and the import rules read it."""
    return Path(__file__).resolve().parent.parent
