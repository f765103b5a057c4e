"""Forks, and processes whose sockets gevent has replaced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from tests.support.valkey import Server

from recloser_adapters.redis import RedisStore

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def in_child(do: Callable[[], object]) -> None:
    """Run it in a forked process, and fail if it fails there."""
    child = os.fork()
    if child == 0:
        # Nothing of pytest may run in the child.
        try:
            os._exit(0 if do() else 1)
        except BaseException:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def clients(server: Server) -> set[bytes]:
    lines = server.command("CLIENT", "LIST").split(b"\n")
    return {line.split()[0] for line in lines if b"id=" in line and b"cmd=client" not in line}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.parametrize("told", [True, False])
def test_a_child_has_connections_of_its_own_and_the_parent_keeps_its_own(
    server: Server, store: RedisStore, never: int, told: bool
) -> None:
    store.swap("a", 0, 1, "a", 60)
    before = clients(server)
    assert len(before) == 2

    def child() -> bool:
        if told:
            store.after_fork()
        mine = store.swap("a", 1, 2, "b", 60) and store.news(0).version == 2
        store.close()
        return mine

    in_child(child)

    # The parent has heard the child, on the connections that it had before.
    assert store.wait(5, never)
    assert store.news(0).version == 2
    assert clients(server) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_child_that_only_closes_does_not_end_the_connections_of_the_parent(
    server: Server, store: RedisStore
) -> None:
    store.news(0)
    before = clients(server)

    def child() -> bool:
        store.close()
        return True

    in_child(child)
    in_child(lambda: True)

    store.news(0)
    assert clients(server) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_fork_while_another_thread_waits_harms_neither(
    server: Server, store: RedisStore, other: RedisStore, never: int
) -> None:
    store.news(0)
    heard: list[bool] = []
    waiting = threading.Thread(target=lambda: heard.append(store.wait(20, never)))
    waiting.start()

    in_child(lambda: store.swap("a", 0, 1, "a", 60))

    waiting.join(10)
    assert heard == [True]


UNDER_GEVENT = """
import gevent.monkey
gevent.monkey.patch_all()
import json, os, sys, time, gevent
from recloser.fleet import StoreError
from recloser_adapters.redis import RedisStore

url, pid = sys.argv[1], int(sys.argv[2])
store, other = RedisStore(url), RedisStore(url)
reading, writing = os.pipe()
seen = {"took": [], "turns": []}
turns = 0

def work():
    # A native thread, as the background thread of a registry is one.
    store.news(0); other.news(0)
    other.swap("a", 0, 1, "a", 60)
    seen["heard"] = store.wait(5, reading)
    os.kill(pid, 19)
    for _ in range(4):
        began, before = time.monotonic(), turns
        try:
            store.news(0)
        except StoreError as error:
            seen["took"].append(time.monotonic() - began)
            seen["turns"].append(turns - before)
    os.kill(pid, 18)
    seen["mended"] = store.news(0).version
    seen["rang"] = store.wait(5, reading)
    store.wait(0.2, reading)
    store.close(); other.close()
    seen["end"] = True

gevent.get_hub()  # as the background thread of a registry does before it begins
gevent.monkey.get_original("_thread", "start_new_thread")(work, ())
until = time.monotonic() + 30
while "end" not in seen and time.monotonic() < until:
    gevent.sleep(0.005)
    turns += 1
print(json.dumps(seen))
"""


def test_under_gevent_the_loop_never_stands_still_for_a_server_that_hangs(
    server: Server, pair: tuple[object, str]
) -> None:
    pytest.importorskip("gevent")

    done = subprocess.run(
        [sys.executable, "-c", UNDER_GEVENT, server.url, str(server.pid)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["heard"] is True
    assert seen["mended"] == 1
    assert seen["rang"] is True
    assert len(seen["took"]) == 4
    assert max(seen["took"]) < 1
    # The loop has turned all the time that the store waited. It would be 50 times on an idle machine.
    assert min(seen["turns"]) >= 3
