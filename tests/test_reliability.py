"""What the docs say about reliability and security names tests that exist, and files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = ["docs/reliability.md", "SECURITY.md"]


@pytest.mark.parametrize("page", PAGES)
def test_each_test_that_is_named_exists(repo_root: Path, page: str) -> None:
    tests = {
        name
        for file in (repo_root / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", file.read_text())
    }
    named = set(re.findall(r"`(test_\w+)`", (repo_root / page).read_text()))

    assert len(named) > 10
    assert named - tests == set()


@pytest.mark.parametrize("page", PAGES)
def test_each_page_that_is_linked_exists(repo_root: Path, page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (repo_root / page).read_text())

    assert links
    assert [link for link in links if not (repo_root / page).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_both_are_found_from_where_a_user_looks(repo_root: Path, page: str) -> None:
    text = (repo_root / page).read_text()

    assert [name for name in PAGES if f"({name})" not in text] == []
