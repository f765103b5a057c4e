"""Sends 2,000 requests against each kind of unhealthy primary, and prints what users noticed.

    python -m benchmarks.failover            # about six minutes
    python -m benchmarks.failover --quick    # a tenth of the requests
    python -m benchmarks.failover --against litellm    # next to LiteLLM's Router; five minutes

Each run first warms up with 200 requests against healthy providers. `added` is the median latency
after the first 15 requests, minus the median of the same number of requests that the same client
sends directly to the healthy provider at the same time. `twice` counts the requests that the
providers together received more than once.
"""

from __future__ import annotations

import argparse
import socket
import statistics
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.failover.against import compare
from benchmarks.failover.clients import MAKERS, Load, Sent, failover
from benchmarks.failover.provider import Providers

SETTLED = 15
WARM_UP = 200


@dataclass(frozen=True, slots=True)
class Run:
    """A fault of the primary, a kind of request and a rate per second."""

    mode: str
    repeatable: bool
    rate: float


RUNS = [
    Run("hang", True, 100.0),
    Run("hang", False, 50.0),
    Run("fail", True, 100.0),
    Run("fail", False, 100.0),
    Run("refuse", True, 100.0),
    Run("refuse", False, 100.0),
]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.failover")
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    parser.add_argument("--against", choices=["litellm"], help="another router, on the same fakes")
    parser.add_argument("--venv", type=Path, help="the environment of that router")
    arguments = parser.parse_args()
    if arguments.against:
        compare(arguments.venv)
        return
    count = 200 if arguments.quick else 2000
    print(
        f"{'client':19}{'primary':9}{'requests':12}{'rate':>5}{'succeed':>10}{'lost':>6}"
        f"{'twice':>7}{'added':>10}{'slowest':>10}{'tried':>7}"
    )
    with Providers() as providers:
        for client in MAKERS:
            for run in RUNS:
                print(line(client, run, measure(client, run, providers, count), count), flush=True)


@dataclass(frozen=True, slots=True)
class Result:
    """What users noticed, and what the providers counted."""

    sent: list[Sent]
    twice: int
    tried: int
    bare: float


def measure(client: str, run: Run, providers: Providers, count: int) -> Result:
    """Send the load of a run. The primary is unhealthy from the first request on."""
    for name in providers.urls:
        providers.set_mode(name, "ok")
    urls = dict(providers.urls)
    if run.mode == "refuse":
        # A port without a listener.
        with socket.create_server(("127.0.0.1", 0)) as free:
            urls["primary"] = f"http://127.0.0.1:{free.getsockname()[1]}"
    straight = MAKERS[client](urls["backup"])
    users = MAKERS[client](failover(urls))
    users.send(Load(WARM_UP, run.rate, run.repeatable, "warm"))
    for name in providers.urls:
        sick = name == "primary" and run.mode != "refuse"
        providers.set_mode(name, run.mode if sick else "ok")
    with ThreadPoolExecutor(1) as beside:
        comparison = beside.submit(straight.send, Load(count, run.rate, False, "bare"))
        sent = users.send(Load(count, run.rate, run.repeatable, "user"))
        bare = comparison.result()
    users.close()
    straight.close()

    received = providers.received("primary") + providers.received("backup")
    return Result(
        sent,
        sum(times > 1 for times in received.values()),
        providers.received("primary").total(),
        statistics.median(each.seconds for each in bare[SETTLED:]),
    )


def line(client: str, run: Run, result: Result, count: int) -> str:
    """Return one line of the table."""
    lost = sum(not each.succeeded for each in result.sent)
    added = statistics.median(each.seconds for each in result.sent[SETTLED:]) - result.bare
    slowest = max(each.seconds for each in result.sent if each.succeeded)
    kind = "repeatable" if run.repeatable else "once"
    return (
        f"{client:19}{run.mode:9}{kind:12}{run.rate:5.0f}{1 - lost / count:10.2%}{lost:6}"
        f"{result.twice:7}{added * 1000:7.2f} ms{slowest * 1000:7.0f} ms{result.tried:7}"
    )


if __name__ == "__main__":
    main()
