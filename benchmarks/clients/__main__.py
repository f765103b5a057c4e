"""Drives each client against a fake provider, and prints one line for each as a Markdown table.

    python -m benchmarks.clients                   # every client that is installed
    python -m benchmarks.clients --only openai     # those whose name contains that
    python -m benchmarks.clients --check           # exit 1 if one is judged wrongly
    python -m benchmarks.clients --fresh           # each at its latest version (needs uv)

With `--fresh` each client is installed into a virtual environment of its own, because some of them
do not go together: in one environment a few would be years old.

For each client: the lines that guard it; what the breaker made of good answers, of 503s, of 429s
and of the caller's own mistakes; and what a refused call raises, after how many seconds. The
clients' own retries are as their authors set them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clients import llm, platforms
from benchmarks.clients.client import KEY, Call, Client
from benchmarks.clients.provider import Provider
from recloser import Breaker, Registry, State

GOOD_CALLS = 5
MISTAKES = 8
"""Calls with the caller's own mistake; five failures would open the breaker."""
MOST_CALLS = 8
"""Calls that fail, at most, until the breaker must be open."""
PROMPT = 0.5
"""Seconds in which a refused call should end."""
ADAPTED = ("httpx", "httpx2", "requests")
"""Libraries that the adapters in the builders need."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was seen of one client."""

    client: Client
    good: str
    failed: str
    throttled: str
    mistakes: str
    refused: str
    seconds: float
    error: str

    @property
    def is_right(self) -> bool:
        """Whether every verdict is as it should be."""
        return {self.good, self.failed, self.throttled, self.mistakes, self.refused} == {"yes"}

    def __str__(self) -> str:
        """A row of the table."""
        cells = [
            f"{self.client.name} {self.client.version}",
            str(self.client.lines),
            self.good,
            self.failed,
            self.throttled,
            self.mistakes,
            f"{self.seconds:.2f} s, `{self.error}`"
            + ("" if self.refused == "yes" else ", unnamed"),
        ]
        return "| " + " | ".join(cells) + " |"


HEAD = """\
| client | lines | good answers count | 503s open | a 429 is no failure | mistakes do not open | refused |
|---|---|---|---|---|---|---|"""


def made(call: Call) -> BaseException | None:
    """Make one call; return what it raised."""
    try:
        call()
    except Exception as error:  # each SDK has its own
        return error
    return None


def drive(client: Client, provider: Provider) -> Row:
    """Drive one client through all modes of the provider, each with a fresh breaker."""

    def fresh(mode: str) -> tuple[Breaker, Call]:
        provider.reset("ok")  # some ask for something when they are made
        registry = Registry()
        call = client.build(provider.url, registry)
        provider.reset(mode)
        return registry[KEY], call

    breaker, call = fresh("ok")
    errors = [error for _ in range(GOOD_CALLS) if (error := made(call))]
    if errors:
        raise errors[0]
    seen = breaker.metrics()
    good = "yes" if seen.successes >= GOOD_CALLS and not seen.failures else f"{seen.successes}"
    breaker, call = fresh("503")
    for _ in range(MOST_CALLS):
        if breaker.state is State.CLOSED:
            made(call)
    failed = "yes" if breaker.state is State.OPEN else breaker.explain()
    breaker, call = fresh("429")
    for _ in range(2):
        made(call)
    more = breaker.metrics().failures
    throttled = f"{more} failures" if more else "yes"
    breaker, call = fresh(str(client.own_error))
    for _ in range(MISTAKES):
        made(call)
    more = breaker.metrics().failures
    mistakes = f"{more} failures" if more or breaker.state is not State.CLOSED else "yes"
    breaker, call = fresh("ok")
    breaker.open("maintenance", for_=600.0)
    began = time.perf_counter()
    error = made(call)
    seconds = time.perf_counter() - began
    text = "".join(traceback.format_exception(error)) if error else ""
    named = "yes" if repr(KEY) in text and not provider.received else "no"
    name = type(error).__name__
    return Row(client, good, failed, throttled, mistakes, named, seconds, name)


def print_row(client: Client) -> bool:
    """Drive one client, and print its row; False if it is judged wrongly or refused slowly."""
    if client.version is None:
        print(f"| {client.name} | not installed | | | | | |", flush=True)
        return True
    with Provider() as provider:
        try:
            row = drive(client, provider)
        except Exception as error:
            print(f"| {client.name} | {type(error).__name__}: {error} | | | | | |", flush=True)
            return False
    print(row, flush=True)
    return row.is_right and row.seconds <= PROMPT


def print_fresh_row(client: Client) -> bool:
    """The same for its latest version, in a virtual environment of its own."""
    with tempfile.TemporaryDirectory() as folder:
        python = str(Path(folder) / "bin" / "python")
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "-q", "--python", sys.executable, folder], check=True)
        # The client is first, because uv keeps the latest version of what is named first.
        needs = [client.package, *client.beside, *ADAPTED]
        subprocess.run([*uv, "pip", "install", "-q", "--python", python, *needs], check=True)
        child = [
            python,
            "-W",
            "ignore",
            "-m",
            "benchmarks.clients",
            "--row",
            client.name,
            "--check",
        ]
        done = subprocess.run(
            child,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=300,
            check=False,
        )
    # Some SDKs print help beside their errors.
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    print(*rows or [f"| {client.name} | no row | | | | | |"], sep="\n", flush=True)
    return done.returncode == 0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clients")
    parser.add_argument("--only", default="", help="clients whose name contains this")
    parser.add_argument("--row", help="the row of one client, without the head")
    parser.add_argument("--check", action="store_true", help="exit 1 if one is judged wrongly")
    parser.add_argument("--fresh", action="store_true", help="each in an environment of its own")
    options = parser.parse_args()
    if options.row is None:
        print(HEAD, flush=True)
    clients = [
        client
        for client in (*llm.CLIENTS, *platforms.CLIENTS)
        if options.only in client.name and options.row in (None, client.name)
    ]
    printed = print_fresh_row if options.fresh else print_row
    wrong = [client.name for client in clients if not printed(client)]
    if options.check and wrong:
        parser.exit(1, f"judged wrongly, or refused slowly: {', '.join(wrong)}\n")


if __name__ == "__main__":
    main()
