"""httpx's own tests, with every default transport guarded: `python -m tests.foreign httpx`.

They come with its source distribution. They run plain, guarded, and with a deliberate mistake in
the guard, in an environment of their own with the versions that they pass with. Everything stays
on loopback but the download.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VERSION = "0.28.1"
PINS = [
    f"httpx[brotli,cli,http2,socks,zstd]=={VERSION}",
    "anyio==4.13.0",
    "chardet==5.2.0",
    "click==8.1.8",
    "cryptography>=42",
    "pytest==8.4.2",
    "trio==0.31.0",
    "trustme==1.2.1",
    "uvicorn>=0.30",
]
SELECTION = [
    "-m",
    "not network",  # nothing may leave loopback
    "--deselect",
    "tests/test_timeouts.py::test_write_timeout[trio]",  # fails plain, too
]
# Run -> the mistake in it.
RUNS = {
    "plain": None,
    "guarded": "",
    "control: unclosed": "unclosed",
    "control: altered": "altered",
    "control: silent": "silent",
}


def main(arguments: list[str]) -> int:
    """Run the suite; 0 if it passes guarded as it does plain, and fails with each mistake."""
    parser = argparse.ArgumentParser(prog="tests.foreign httpx", description=__doc__)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in DIR and leave it there")
    parser.add_argument("pytest", nargs="*", help="further arguments for pytest")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        place: Path = options.keep or Path(scratch)
        python = _prepare(place)
        results = {
            name: _run(python, place, name, mistake, options.pytest)
            for name, mistake in RUNS.items()
        }
    return _judge(results)


def _prepare(place: Path) -> Path:
    """Make an environment and unpack the tests; return its Python."""
    python = place / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(place / "venv", with_pip=True, clear=True)
    pip = [str(python), "-m", "pip", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *PINS], check=True)
    source = ["--no-deps", "--no-binary", ":all:", f"httpx=={VERSION}", "--dest", str(place)]
    subprocess.run([*pip, "download", *source], check=True)
    shutil.rmtree(place / "suite", ignore_errors=True)
    with tarfile.open(place / f"httpx-{VERSION}.tar.gz") as archive:
        archive.extractall(place / "source", filter="data")
    # Without the sources: what is tested is what is installed.
    unpacked = place / "source" / f"httpx-{VERSION}"
    (place / "suite").mkdir()
    shutil.copytree(unpacked / "tests", place / "suite" / "tests")
    shutil.copy(unpacked / "pyproject.toml", place / "suite")
    return python


def _run(python: Path, place: Path, name: str, mistake: str | None, further: list[str]) -> str:
    """Run the tests once; return pytest's last line."""
    path = [str(HERE), str(ROOT / "middleware"), str(ROOT / "adapters")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    if name != "guarded":  # the run that counts for the totals of tox
        environment.pop("PYTEST_ADDOPTS", None)
    command = [str(python), "-m", "pytest", "-q", *SELECTION, *further]
    if mistake is not None:
        environment["RECLOSER_CONTROL"] = mistake
        command += ["-p", "httpx_plugin"]
    # A mistake may hang a test: that is noticed, too.
    limit = 120 if mistake else 600
    try:
        done = subprocess.run(
            command,
            cwd=place / "suite",
            env=environment,
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return _tell(name, "hangs: 1 failed")
    lines = done.stdout.strip().splitlines()
    if done.returncode and not mistake:
        print("\n".join(lines[-60:]), done.stderr, sep="\n", file=sys.stderr)
    ours = next((line for line in lines if line.startswith("recloser:")), "")
    return _tell(name, f"{lines[-1]}; {ours}; exit {done.returncode}")


def _tell(name: str, result: str) -> str:
    print(f"{name:20} {result}", flush=True)
    return result


def _judge(results: dict[str, str]) -> int:
    def passed(line: str) -> int:
        found = re.search(r"(\d+) passed", line)
        return int(found[1]) if found else 0

    plain, guarded = results["plain"], results["guarded"]
    same = passed(plain) == passed(guarded) > 0
    clean = not any(re.search(r"failed|error", line) for line in (plain, guarded))
    complete = " 0 permits left, 0 faults; exit 0" in guarded
    noticed = all("failed" in line for name, line in results.items() if name.startswith("control"))
    verdict = same and clean and complete and noticed
    print("as without us, and it would notice" if verdict else "NOT as it should be")
    return 0 if verdict else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
