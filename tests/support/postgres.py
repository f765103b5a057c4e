"""A real PostgreSQL for tests, if it is installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_START = 30.0  # seconds


def binaries() -> Path | None:
    """The folder with `initdb` and `postgres`; None if there is none."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


def _user() -> str | None:
    """PostgreSQL does not run as root."""
    return "postgres" if os.geteuid() == 0 else None


@contextmanager
def running(*options: str) -> Iterator[str]:
    """The URL of a server that ends with the block. Its data is not written to the disk in time."""
    programs = binaries()
    assert programs is not None
    with tempfile.TemporaryDirectory(prefix="pg") as name:
        folder = Path(name)
        if (user := _user()) is not None:
            shutil.chown(folder, user)
        subprocess.run(
            [programs / "initdb", "-D", folder / "d", "-U", "app", "-A", "trust", "--no-sync"],
            check=True,
            capture_output=True,
            user=user,
            cwd=folder,
            timeout=60,
        )
        command: list[str | Path] = [
            programs / "postgres",
            "-D",
            folder / "d",
            "-k",
            folder,
            "-h",
            "",
            "-F",
            *options,
        ]
        server = subprocess.Popen(
            command, user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _wait(programs, folder)
            yield f"postgresql://app@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait(30)


def _wait(programs: Path, folder: Path) -> None:
    until = time.monotonic() + _START
    asked: list[str | Path] = [programs / "pg_isready", "-h", folder, "-U", "app", "-q"]
    while subprocess.run(asked, check=False).returncode:
        if time.monotonic() > until:
            raise RuntimeError("PostgreSQL has not started")
        time.sleep(0.05)
