"""Write the state diagram in docs/architecture.md from the table that the circuit executes.

With `--check` it writes nothing, and the exit status is 1 if the diagram in the file differs.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "architecture.md"
BEGIN = "<!-- states: `python .ci/generate_state_diagram.py` writes this -->\n"
END = "<!-- end of states -->"


def diagram() -> str:
    """Return the diagram as Mermaid text, with one arrow per pair of states."""
    from recloser._circuit.transitions import TRANSITIONS

    causes: dict[tuple[str, str], list[str]] = {}
    for before, cause, after in TRANSITIONS:
        causes.setdefault((before.value, after.value), []).append(cause.value)
    lines = ["stateDiagram-v2", "    [*] --> closed"]
    for (before, after), labels in causes.items():
        lines.append(f"    {before} --> {after}: {'<br>'.join(labels)}")
    return "\n".join(["```mermaid", *lines, "```", ""])


def main() -> int:
    """Write or check the diagram; return the exit status."""
    text = DOCUMENT.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    wanted = f"{head}{BEGIN}\n{diagram()}\n{END}{tail}"
    if "--check" not in sys.argv[1:]:
        DOCUMENT.write_text(wanted)
        return 0
    if text == wanted:
        return 0
    print(
        f"{DOCUMENT.name} is out of date: run python .ci/generate_state_diagram.py", file=sys.stderr
    )
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
