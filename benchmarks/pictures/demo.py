"""The picture of the demo in README, from a real run of it: `python -m benchmarks.pictures.demo`."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

FOLDER = Path(__file__).resolve().parent.parent.parent / "docs" / "pictures"
_COLUMNS = 92
# What the summary at the end follows: the live view is removed line by line.
_REMOVED = re.compile(r"\x1b\[1A\x1b\[2K")
# Fonts of another host: a picture fetches nothing.
_FONT_FACE = re.compile(r"@font-face \{.*?\}\s*|<!--.*?-->\s*", re.DOTALL)


def summary() -> str:
    """Run the demo in a terminal; return its last screen with its colours."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, _COLUMNS, 0, 0))
    command = [sys.executable, "-m", "recloser_adapters", "demo"]
    said = b""
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, close_fds=True) as demo:
        os.close(its)
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux says so where other systems give an empty part
                break
            if not part:
                break
            said += part
    if demo.returncode:
        raise SystemExit(f"the demo ended with exit status {demo.returncode}")
    return _REMOVED.split(said.decode().replace("\r", ""))[-1]


def main() -> None:
    """Run the demo, and write its picture."""
    shown = Text.from_ansi(summary().strip("\n"))
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=_COLUMNS, file=nowhere)
        console.print(shown)
    text = console.export_svg(title="recloser demo", theme=SVG_EXPORT_THEME, unique_id="demo")
    text = _FONT_FACE.sub("", text).replace("Fira Code", "ui-monospace")
    (FOLDER / "demo.svg").write_text(text)


if __name__ == "__main__":
    main()
