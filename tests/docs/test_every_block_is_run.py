"""Each page of docs/ with Python in it is named by a test, and no block hides from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.support.markdown import code_blocks

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in sorted((ROOT / "docs").rglob("*.md"))
    if "```python" in path.read_text()
]
TESTS = {path.name: path.read_text() for path in Path(__file__).parent.glob("test_*.py")}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_with_code_is_named_by_a_test(page: str) -> None:
    name = page.rpartition("/")[2]
    naming = [test for test, text in TESTS.items() if f'{name}"' in text and "code_blocks" in text]
    naming += [test for test, text in TESTS.items() if f'"{page}"' in text and "Checks" in text]

    assert naming, f"{page}: write tests/docs/test_{name[:-3].replace('-', '_')}.py"


@pytest.mark.parametrize("page", PAGES)
def test_no_block_is_indented_or_named_otherwise(page: str) -> None:
    """What is not at the beginning of a line, or not called `python`, would be run by no test."""
    text = (ROOT / page).read_text()

    assert len(re.findall(r"```\s*(?:python|py|python3|pycon)\b", text)) == len(
        code_blocks(ROOT / page)
    )
