"""docs/architecture.md: what it says of the house holds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "architecture.md").read_text()
CORE = ROOT / "middleware" / "recloser"
ADAPTERS = ROOT / "adapters" / "recloser_adapters"


def section(title: str) -> str:
    """The text below a heading, up to the next one of the same or a higher level."""
    level, _ = title.split(" ", 1)
    _, _, rest = f"\n{TEXT}".partition(f"\n{title}\n")
    assert rest, title
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(text: str) -> list[str]:
    """The first cell of each row of the tables in a text, without their headings."""
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if not row.startswith(("module", "word", "---"))]


def named(cells: list[str]) -> set[str]:
    return {name.rstrip("/") for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_module_of_the_core_has_its_line() -> None:
    modules = {path.stem for path in CORE.rglob("*.py")}

    assert named(first_cells(section("### The core: `middleware/recloser/`"))) == modules


def test_every_adapter_and_every_shared_room_has_its_line() -> None:
    rooms = {path.stem for path in ADAPTERS.iterdir() if not path.name.startswith(("__", "py."))}

    assert named(first_cells(section("### The adapters: `adapters/recloser_adapters/`"))) == rooms


def test_the_glossary_is_short() -> None:
    words = first_cells(section("## Vocabulary"))

    assert 10 <= len(words) <= 25
    assert len(set(words)) == len(words)


WALKS = re.findall(r"^### (.*)$", section("## Five walks"), flags=re.MULTILINE)


def test_there_are_five_walks() -> None:
    assert len(WALKS) == 5


@pytest.mark.parametrize("walk", WALKS)
def test_a_walk_has_five_hops_at_most_and_visits_no_module_twice(walk: str) -> None:
    text = section(f"### {walk}")
    visited = re.findall(r"^\d\. `([\w.]+)`", text, flags=re.MULTILINE)

    assert 1 < len(visited) <= 5
    assert len(set(visited)) == len(visited)
    assert len(visited) == len(re.findall(r"^\d\. ", text, flags=re.MULTILINE))
    for module in visited:
        path = Path(*module.split(".")).with_suffix(".py")
        assert (CORE / path).exists() or (ADAPTERS / path).exists(), module


def test_the_diagram_of_the_states_is_that_of_the_table() -> None:
    script = ROOT / ".ci" / "generate_state_diagram.py"

    checked = subprocess.run(
        [sys.executable, script, "--check"], check=False, capture_output=True, text=True
    )

    assert checked.returncode == 0, checked.stderr
