"""What Redis and Valkey say, on real servers, through redis-py and valkey-py."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.valkey import Server, binaries, running
from tests.support.waiting import until

from recloser import Breaker

FAILED, REJECTED = {"failures": 1}, {"ignored": 1}
LIBRARIES = [name for name in ("redis", "valkey") if importlib.util.find_spec(name)]
if not LIBRARIES or not binaries():
    pytest.skip("no server or no library is installed", allow_module_level=True)

Start = Callable[..., tuple[Server, Any]]
EVER = "while true do end"


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(request.param)


@pytest.fixture(params=binaries().items(), ids=lambda item: item[0])
def start(request: pytest.FixtureRequest, library: Any) -> Iterator[Start]:
    """Starts a server with options, and makes a client of it."""
    binary: Path = request.param[1]
    with ExitStack() as stack:

        def start(*options: str) -> tuple[Server, Any]:
            server = stack.enter_context(running(binary, *options))
            made = library.Redis if hasattr(library, "Redis") else library.Valkey
            client = made.from_url(server.url, socket_timeout=5)
            stack.callback(client.close)
            return server, client

        yield start


def said(function: Callable[..., object], *args: object) -> dict[str, int]:
    """The verdict on what a call raises."""
    breaker = Breaker("redis")
    with pytest.raises(Exception):  # noqa: B017, PT011 - the verdict is what matters
        breaker.call(function, *args)
    return votes(breaker.metrics())


def test_what_the_caller_did_wrong_is_no_failure(start: Start, library: Any) -> None:
    _, client = start("--requirepass", "secret")
    assert said(client.get, "a") == REJECTED  # NOAUTH
    _, client = start()
    client.set("text", "a")
    client.execute_command("ACL", "SETUSER", "reader", "on", "nopass", "~*", "+get")

    assert said(client.lpush, "text", "b") == REJECTED
    assert said(client.execute_command, "NOSUCH") == REJECTED
    assert said(client.evalsha, "0" * 40, 0) == REJECTED
    assert said(client.eval, "return redis.call('nope')", 0) == REJECTED

    def changed() -> None:
        with client.pipeline() as pipe:
            pipe.watch("text")
            client.set("text", "c")
            pipe.multi()
            pipe.set("text", "d")
            pipe.execute()

    assert said(changed) == REJECTED
    client.execute_command("AUTH", "reader", "")
    assert said(client.execute_command, "SET", "text", "e") == REJECTED


def test_a_server_without_memory_is_a_failure(start: Start) -> None:
    _, client = start("--maxmemory", "1")

    assert said(client.set, "a", "b" * 100) == FAILED


def test_a_replica_after_a_switch_is_a_failure(start: Start) -> None:
    _, client = start()
    client.execute_command("REPLICAOF", "127.0.0.1", "1")

    assert said(client.set, "a", "b") == FAILED
    client.execute_command("CONFIG", "SET", "replica-serve-stale-data", "no")
    assert said(client.get, "a") == FAILED  # MASTERDOWN


def test_a_master_that_misses_its_replicas_is_a_failure(start: Start) -> None:
    _, client = start("--min-replicas-to-write", "1")

    assert said(client.set, "a", "b") == FAILED


def test_a_server_that_cannot_save_is_a_failure(start: Start) -> None:
    server, client = start()
    client.execute_command("CONFIG", "SET", "save", "1 1000000")
    client.set("a", "b")
    # Where the file should be is a folder that is not empty.
    (server.folder / "dump.rdb" / "full").mkdir(parents=True)
    client.execute_command("BGSAVE")
    until(lambda: not client.info("persistence")["rdb_bgsave_in_progress"], "saved, in vain")

    assert said(client.set, "a", "c") == FAILED


@pytest.mark.parametrize("in_a_pipeline", [False, True])
def test_a_server_that_runs_a_script_for_too_long_is_a_failure(
    start: Start, in_a_pipeline: bool
) -> None:
    server, client = start("--lua-time-limit", "10")
    running_it = type(client).from_url(server.url, socket_timeout=20)

    def run() -> None:
        with suppress(Exception):
            running_it.eval(EVER, 0)

    script = threading.Thread(target=run)
    script.start()
    until(lambda: b"-BUSY" in server.command("GET", "a"), "the script runs for too long")

    def read() -> None:
        if in_a_pipeline:
            with client.pipeline(transaction=False) as pipe:
                pipe.get("a").get("b").execute()
        else:
            client.get("a")

    verdict = said(read)
    server.command("SCRIPT", "KILL")
    script.join(20)
    running_it.close()
    assert verdict == FAILED


def test_a_part_of_a_cluster_that_is_down_is_a_failure(start: Start) -> None:
    _, client = start("--cluster-enabled", "yes")

    assert said(client.get, "a") == FAILED


def test_a_client_that_does_not_know_the_cluster_is_the_callers_own(start: Start) -> None:
    _, client = start("--cluster-enabled", "yes")
    client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    until(lambda: not said_down(client), "the cluster is up")

    assert said(client.execute_command, "MSET", "a", "1", "b", "2") == REJECTED


def said_down(client: Any) -> bool:
    try:
        client.get("a")
    except Exception as error:
        return "down" in str(error).lower()
    return False


def test_a_server_that_is_gone_or_hangs_is_a_failure(start: Start) -> None:
    server, client = start()
    hasty = type(client).from_url(server.url, socket_timeout=0.1)
    hasty.ping()
    server.pause()
    assert said(hasty.get, "a") == FAILED
    server.kill()

    assert said(client.get, "a") == FAILED
    hasty.close()


def test_a_pool_of_our_own_that_is_full_says_nothing(start: Start) -> None:
    server, client = start()
    small: Any = type(client).from_url(server.url, max_connections=1)
    taken = small.pubsub()
    taken.subscribe("a")

    verdict = said(small.get, "a")

    taken.close()
    small.close()
    assert verdict == REJECTED
