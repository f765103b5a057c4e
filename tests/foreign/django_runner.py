"""Django's own tests of its handlers, which only its own runner can run.

    python django_runner.py DJANGO/tests/runtests.py handlers wsgi asgi ...

Guards `WSGIHandler` and `ASGIHandler` as `inbound_plugin` does, if `RECLOSER_PLACE` is set, or with
`inside` every handler by our line in `MIDDLEWARE`, also that of Django's test client. It ends with two lines such as pytest and that plugin print. `--junit-xml=` in `PYTEST_ADDOPTS` gets a file
with the totals.
"""

from __future__ import annotations

import io
import os
import re
import runpy
import shlex
import sys
from contextlib import redirect_stderr
from pathlib import Path
from xml.etree import ElementTree


class _Both(io.StringIO):
    """Keeps what is written, and shows it at once."""

    def write(self, text: str) -> int:
        sys.__stdout__.write(text)  # type: ignore[union-attr]  # there is one
        return super().write(text)


def main(script: str, labels: list[str]) -> int:
    """Run them; 0 if all pass, and if guarded, no permit is left and nothing of ours failed."""
    account = None
    if "RECLOSER_PLACE" in os.environ:
        import accounts
        import inbound_plugin

        if inbound_plugin.PLACE == "inside":
            inbound_plugin.guard_django_inside()
        else:
            inbound_plugin.guard_django()
        account = accounts.account
    said = _Both()
    sys.argv = [script, "--parallel=1", "--noinput", *labels]
    sys.path.insert(0, str(Path(script).parent))
    status: object = 0
    with redirect_stderr(said):
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as ended:
            status = ended.code
    text = said.getvalue()
    total = sum(int(number) for number in re.findall(r"^Ran (\d+) tests? in", text, re.M))
    bad = sum(int(number) for number in re.findall(r"(?:failures|errors)=(\d+)", text))
    skipped = sum(int(number) for number in re.findall(r"skipped=(\d+)", text))
    line, is_sound = account() if account else ("", True)
    print(line)
    _write_junit(total, bad, skipped)
    print(f"{total - bad - skipped} passed, {skipped} skipped" + (f", {bad} failed" if bad else ""))
    return 0 if not status and total and not bad and is_sound else 1


def _write_junit(total: int, bad: int, skipped: int) -> None:
    for option in shlex.split(os.environ.get("PYTEST_ADDOPTS", "")):
        name, _, path = option.partition("=")
        if name == "--junit-xml":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            counts = {"tests": total, "failures": bad, "errors": 0, "skipped": skipped}
            suite = ElementTree.Element("testsuite", {key: str(n) for key, n in counts.items()})
            ElementTree.ElementTree(suite).write(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
