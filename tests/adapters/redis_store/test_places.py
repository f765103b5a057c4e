"""Where servers are: TLS, TCP, passwords and databases; clusters and sentinels."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.support.valkey import Server, running

from recloser.fleet import StoreError
from recloser_adapters.redis import RedisStore

START = 30.0  # seconds until a cluster or sentinels agree


def free_port() -> int:
    """A port that is free, as is the one 10000 above it: there the nodes of a cluster talk."""
    while True:
        port = random.randrange(20_000, 30_000)
        with suppress(OSError), ExitStack() as stack:
            for each in (port, port + 10_000):
                stack.enter_context(socket.create_server(("127.0.0.1", each)))
            return port


@contextmanager
def on_port(binary: Path, *options: str) -> Iterator[tuple[Server, int]]:
    port = free_port()
    with running(binary, "--port", str(port), "--bind", "127.0.0.1", *options) as server:
        yield server, port


def test_a_client_gives_address_user_password_and_database(
    binary: Path, library: Any, store_of: Callable[..., RedisStore]
) -> None:
    made = library.Redis if library.__name__ == "redis" else library.Valkey
    with on_port(binary) as (server, port):
        server.command("ACL", "SETUSER", "me", "on", ">secret", "allkeys", "allchannels", "+@all")
        # What is for the user's own requests does not reach us.
        client = made(
            host="localhost",
            port=port,
            db=3,
            username="me",
            password="secret",
            decode_responses=True,
            socket_timeout=60,
            health_check_interval=1,
            protocol=3,
            client_name="theirs",
            max_connections=1,
        )
        store = store_of(client)

        assert store.place == f"redis://localhost:{port}/3"
        assert store.swap("a", 0, 1, "ä", 60)
        assert store.news(0).facts[0].text == "ä"
        assert b"db=3" in server.command("CLIENT", "LIST")
        assert b"name=theirs" not in server.command("CLIENT", "LIST")
        # Its pool is as it was.
        client.set("theirs", "x")
        store.close()
        assert client.get("theirs") == "x"
        assert client.connection_pool.connection_kwargs["socket_timeout"] == 60


def test_names_are_looked_up_in_a_thread_that_ends(
    binary: Path, store_of: Callable[..., RedisStore], never: int
) -> None:
    with on_port(binary) as (server, port):
        store = store_of(f"redis://localhost:{port}/0")
        store.news(0)
        server.pause()
        with pytest.raises(StoreError, match="no answer"):
            store.news(0)
        with pytest.raises(StoreError, match="no answer"):
            store.news(0)
        server.resume()
        assert store.swap("a", 0, 1, "a", 60)
        assert store.wait(5, never)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    subprocess.run(
        [
            *["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"],
            *["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
            *["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")],
        ],
        check=True,
        capture_output=True,
    )
    return tmp_path


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_tls_with_its_certificate_checked(
    binary: Path,
    certificate: Path,
    store_of: Callable[..., RedisStore],
    never: int,
    host: str,
) -> None:
    port = free_port()
    tls = [
        *["--tls-port", str(port), "--tls-auth-clients", "no"],
        *["--tls-cert-file", str(certificate / "cert.pem")],
        *["--tls-key-file", str(certificate / "key.pem")],
    ]
    with ExitStack() as stack:
        try:
            server = stack.enter_context(running(binary, *tls))
        except RuntimeError as error:
            if "TLS support" not in str(error) and "Bad directive" not in str(error):
                raise
            pytest.skip("this server was built without TLS")
        url = f"rediss://{host}:{port}/0"
        trusting = f"{url}?ssl_ca_certs={certificate / 'cert.pem'}"
        store, other = store_of(trusting), store_of(trusting)

        assert store.place == url
        assert store.swap("a", 0, 1, "x" * 100_000, 60)
        assert len(other.news(0).facts[0].text) == 100_000
        for _ in range(3):
            store.ring()
            assert other.wait(5, never)
        made = server.command("INFO", "stats")
        for _ in range(20):
            other.news(1)
        # What TLS sends beside the answers does not count as a broken connection.
        assert connections(server.command("INFO", "stats")) == connections(made) + 1
        server.pause()
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(StoreError, match="no answer"):
                store.news(0)
            assert time.monotonic() - began < 1
        server.resume()
        assert store.get("a") is not None

        distrusting = store_of(url)
        with pytest.raises(StoreError, match=r"(?i)certificate"):
            distrusting.news(0)


def connections(info: bytes) -> int:
    (line,) = (each for each in info.split() if each.startswith(b"total_connections_received"))
    return int(line.split(b":")[1])


@pytest.fixture
def cluster(binary: Path) -> Iterator[list[tuple[Server, int]]]:
    """Two nodes, each with half of the slots."""
    options = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]
    with ExitStack() as stack:
        nodes: list[tuple[Server, int]] = []
        for half in (range(8192), range(8192, 16384)):
            node, port = stack.enter_context(on_port(binary, *options))
            # Redis 6.2 knows no ranges.
            node.command("CLUSTER", "ADDSLOTS", *map(str, half))
            nodes.append((node, port))
        nodes[0][0].command("CLUSTER", "MEET", "127.0.0.1", str(port))
        until = time.monotonic() + START
        while not all(
            b"cluster_state:ok" in node.command("CLUSTER", "INFO")
            and b"cluster_known_nodes:2" in node.command("CLUSTER", "INFO")
            for node, _ in nodes
        ):
            assert time.monotonic() < until
            time.sleep(0.05)
        yield nodes


def test_a_cluster_is_asked_where_the_slot_is_and_where_it_moves_to(
    cluster: list[tuple[Server, int]],
    library: Any,
    store_of: Callable[..., RedisStore],
    never: int,
) -> None:
    made = library.RedisCluster if library.__name__ == "redis" else library.ValkeyCluster
    client = made(host="127.0.0.1", port=cluster[0][1])
    store, other = store_of(client), store_of(client)
    other.news(0)

    assert store.swap("a", 0, 1, "a", 60)
    assert store.swap("quiet", 0, 1, "a", 60, loud=False)
    assert store.beat("me", "a", 60) == 1
    store.send("box", "a")
    assert len(other.receive("box")) == 1
    assert other.wait(5, never)

    # The slot moves, and the client does not know.
    life = store.news(0).life
    slot = cluster[0][0].command("CLUSTER", "KEYSLOT", "{recloser}")[1:].strip().decode()
    for node, _ in cluster:
        node.command("FLUSHALL")
    to = 0 if int(slot) >= 8192 else 1
    name = cluster[to][0].command("CLUSTER", "MYID").split()[1].decode()
    for node, _ in (cluster[to], cluster[1 - to]):
        assert node.command("CLUSTER", "SETSLOT", slot, "NODE", name) == b"+OK\r\n"

    assert store.news(0).life != life
    assert store.swap("a", 0, 1, "b", 60)
    assert other.news(0).facts[0].text == "b"
    store.ring()
    assert other.wait(5, never)
    client.close()


def test_a_node_that_is_gone_is_passed_over(
    cluster: list[tuple[Server, int]], library: Any, store_of: Callable[..., RedisStore]
) -> None:
    made = library.RedisCluster if library.__name__ == "redis" else library.ValkeyCluster
    client = made(host="127.0.0.1", port=cluster[0][1])
    store = store_of(client)
    store.news(0)
    for node, _ in cluster:
        node.kill()

    for _ in range(3):
        with pytest.raises(StoreError):
            store.news(0)
    client.close()


def test_a_client_of_sentinels_finds_the_new_master_after_a_failover(
    binary: Path, library: Any, store_of: Callable[..., RedisStore], never: int
) -> None:
    with ExitStack() as stack:
        master, port = stack.enter_context(on_port(binary))
        replica, replica_port = stack.enter_context(
            on_port(binary, "--replicaof", "127.0.0.1", str(port))
        )
        sentinel_port = free_port()
        folder = Path(master.folder)
        conf = folder / "sentinel.conf"
        conf.write_text(
            f"port {sentinel_port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n"
        )
        log = stack.enter_context((folder / "sentinel.log").open("wb"))
        sentinel = subprocess.Popen([binary, conf, "--sentinel"], stdout=log, stderr=log)
        stack.callback(sentinel.wait, 5)
        stack.callback(sentinel.kill)
        # The first sentinel is none: it must not stop us.
        sentinels = library.Sentinel([("127.0.0.1", free_port()), ("127.0.0.1", sentinel_port)])
        until = time.monotonic() + START
        while not knows_replica(sentinel_port):
            assert time.monotonic() < until
            time.sleep(0.05)
        store = store_of(sentinels.master_for("main"))
        assert store.place == "redis+sentinel://main"
        assert store.swap("a", 0, 1, "a", 60)
        while replica.command("EXISTS", "recloser:{recloser}:facts") != b":1\r\n":
            assert time.monotonic() < until

        master.kill()
        swapped = False
        until = time.monotonic() + START
        while not swapped:
            assert time.monotonic() < until
            began = time.monotonic()
            try:
                swapped = store.swap("a", 1, 2, "b", 60)
            except StoreError:
                time.sleep(0.05)
            assert time.monotonic() - began < 1

        assert b"role:master" in replica.command("INFO", "replication")
        assert replica_port != port
        assert store.wait(5, never)
        assert store.news(0).version == 2


def knows_replica(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as client:
            client.sendall(b"SENTINEL REPLICAS main\r\n")
            return b"slave" in client.recv(10_000)
    except OSError:
        return False


def test_sentinels_that_know_no_such_master_are_told(
    binary: Path, library: Any, store_of: Callable[..., RedisStore]
) -> None:
    with on_port(binary) as (server, _):
        port = free_port()
        conf = server.folder / "sentinel.conf"
        conf.write_text(f"port {port}\nbind 127.0.0.1\n")
        log = (server.folder / "sentinel.log").open("wb")
        sentinel = subprocess.Popen([binary, conf, "--sentinel"], stdout=log, stderr=log)
        try:
            store = store_of(library.Sentinel([("127.0.0.1", port)]).master_for("main"))
            until = time.monotonic() + START
            said = ""
            while "know no master 'main'" not in said:
                assert time.monotonic() < until, said
                with pytest.raises(StoreError) as caught:
                    store.news(0)
                said = str(caught.value)
        finally:
            sentinel.kill()
            sentinel.wait(5)
            log.close()
