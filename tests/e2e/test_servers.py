"""What breakers promise, under each server that people use."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import time

import pytest
from tests.support.waiting import until

from .servers import ASGI, COMMANDS, ONE_AT_A_TIME, Server, ask, params

every_server = pytest.mark.parametrize("server", params(COMMANDS), indirect=True)
servers_that_overlap = pytest.mark.parametrize(
    "server", params(set(COMMANDS) - ONE_AT_A_TIME), indirect=True
)
asgi_servers = pytest.mark.parametrize("server", params(ASGI), indirect=True)


def _open(server: Server, name: str) -> None:
    """Fail until it refuses."""
    server.steer(name, "failing")
    until(lambda: server.ask(f"/work/{name}").status == 503, f"{name} refused")


def _closed(server: Server, name: str) -> bool:
    server.ask(f"/work/{name}")
    return bool(server.breaker(name)["state"] == "closed")


@every_server
def test_failures_are_refused_and_a_healed_app_is_served_again(server: Server) -> None:
    server.learn("cycle")
    server.steer("cycle", "failing")

    statuses = [server.ask("/work/cycle").status for _ in range(5)]
    refused = server.ask("/work/cycle")

    # The failures themselves reach the client as they are.
    assert statuses == [500] * 5
    assert refused.status == 503
    assert server.breaker("cycle")["state"] == "open"
    assert server.ask("/work/other").status == 200

    server.steer("cycle", "healthy")
    until(lambda: _closed(server, "cycle"), "the breaker closes")
    assert server.ask("/work/cycle").body == b"done\n"


@every_server
def test_a_refusal_says_what_when_and_not_to_keep_it(server: Server) -> None:
    _open(server, "refusal")

    answer = server.ask("/work/refusal")

    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert json.loads(answer.body)["status"] == 503


@every_server
def test_a_refused_head_has_headers_and_no_body(server: Server) -> None:
    assert server.ask("/work/head", "HEAD").status == 200
    _open(server, "head")

    with contextlib.closing(server.connect()) as connection:
        answer = ask(connection, "/work/head", "HEAD")
        # A body would be read as the beginning of the next answer.
        following = ask(connection, "/work/well")

    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.body == b""
    assert (following.status, following.body) == (200, b"done\n")


@every_server
def test_a_refused_post_whose_body_nobody_read_leaves_the_connection_sound(server: Server) -> None:
    _open(server, "post")

    with contextlib.closing(server.connect()) as connection:
        answer = ask(connection, "/work/post", "POST", b"x" * 10_000)
        try:
            following = ask(connection, "/work/well")
        except ConnectionError:
            # A server that had not received the whole body yet may also hang up.
            connection.close()
            following = ask(connection, "/work/well")

    assert answer.status == 503
    assert (following.status, following.body) == (200, b"done\n")


@every_server
def test_a_stream_reaches_the_client_chunk_by_chunk_and_counts_once(server: Server) -> None:
    server.steer("streamed", "holding")
    with contextlib.closing(server.connect()) as connection:
        connection.request("GET", "/stream/streamed")
        response = connection.getresponse()
        # It holds until it is told to end, so this was not buffered.
        first = response.readline()
        server.steer("streamed", "healthy")
        rest = response.read()

    assert response.status == 200
    assert first == b"first\n"
    assert rest.endswith(b"last\n")
    until(lambda: server.breaker("streamed")["in_flight"] == 0, "the permit is back")
    found = server.breaker("streamed")
    assert (found["calls"], found["successes"], found["cancelled"]) == (1, 1, 0)


@servers_that_overlap
def test_a_stream_is_in_flight_until_its_end(server: Server) -> None:
    server.steer("flying", "holding")
    with contextlib.closing(server.begin("/stream/flying")):
        until(lambda: server.breaker("flying").get("in_flight") == 1, "the call is in flight")
        assert server.breaker("flying")["successes"] == 0

        server.steer("flying", "healthy")
        until(lambda: server.breaker("flying")["successes"] == 1, "the call is a success")


@every_server
def test_a_client_that_leaves_a_stream_gives_the_permit_back(server: Server) -> None:
    client = server.begin("/endless/left")
    received = b""
    while b"first" not in received:
        chunk = client.recv(4096)
        assert chunk, "the server hung up"
        received += chunk
    client.close()

    until(lambda: server.breaker("left")["in_flight"] == 0, "the permit is back")

    found = server.breaker("left")
    assert found["cancelled"] == 1
    assert (found["state"], found["failures"]) == ("closed", 0)


CHUNKED = b"POST /upload/%b HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG = b"POST /upload/%b HTTP/1.1\r\nHost: shop\r\nContent-Length: 999\r\n\r\nabc"


@every_server
@pytest.mark.parametrize(
    ("sent", "resets"),
    [(CHUNKED + b"ZZZ\r\n", False), (CHUNKED + b"9\r\nabc", False), (LONG, True)],
    ids=["bad chunk size", "cut chunk", "reset"],
)
def test_requests_that_never_come_whole_refuse_nobody(
    server: Server, sent: bytes, resets: bool
) -> None:
    name = f"cut{len(sent)}"
    with contextlib.closing(server.connect()) as connection:
        for _ in range(40):
            assert ask(connection, f"/upload/{name}", "POST", b"x").status == 200
    for _ in range(10):
        client = socket.create_connection(("127.0.0.1", server.port), timeout=5.0)
        client.sendall(sent % name.encode())
        time.sleep(0.02)
        if resets:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    until(lambda: server.breaker(name)["in_flight"] == 0, "the permits are back")

    assert server.ask(f"/upload/{name}", "POST").status == 200
    found = server.breaker(name)
    assert (found["state"], found["failures"], found["refused"]) == ("closed", 0, 0)


@asgi_servers
def test_a_client_that_leaves_before_the_answer_gives_the_permit_back(server: Server) -> None:
    server.steer("unanswered", "hanging")
    client = server.begin("/work/unanswered")
    until(lambda: server.breaker("unanswered").get("in_flight") == 1, "the call is in flight")
    client.close()

    until(lambda: server.breaker("unanswered")["in_flight"] == 0, "the permit is back")

    assert server.breaker("unanswered")["cancelled"] == 1


def _unanswered(clients: list[socket.socket]) -> bool:
    readable, _, _ = select.select(clients, [], [], 0)
    return not readable


@servers_that_overlap
def test_a_hang_is_noticed_before_any_call_has_ended(server: Server) -> None:
    server.learn("hang")
    server.steer("hang", "hanging")
    with contextlib.ExitStack() as stack:
        hung: list[socket.socket] = []

        def refused() -> bool:
            client = stack.enter_context(contextlib.closing(server.begin("/work/hang")))
            if select.select([client], [], [], 0.1)[0]:
                return client.recv(4096).startswith(b"HTTP/1.1 503")
            hung.append(client)
            return False

        until(refused, "a call is refused")

        assert len(hung) <= 20
        assert _unanswered(hung)
        assert server.breaker("hang")["failures"] == 0

        server.steer("hang", "healthy")
        until(lambda: _closed(server, "hang"), "the breaker closes")


@pytest.mark.parametrize("server", params(ONE_AT_A_TIME), indirect=True)
def test_a_worker_that_takes_one_call_at_a_time_is_limited_after_five_slow_ones(
    server: Server,
) -> None:
    """It cannot notice a hang in flight: nobody asks for admission meanwhile.

    Calls that come back one at a time fill no limit, so none of them is refused.
    """
    server.learn("slow")

    statuses: list[bytes] = []
    for _ in range(5):
        server.steer("slow", "hanging")
        with contextlib.closing(server.begin("/work/slow")) as client:
            # Hung for far longer than what it has learned to be normal.
            assert not select.select([client], [], [], 0.3)[0]
            server.steer("slow", "healthy")
            statuses.append(client.recv(4096)[:12])

    assert statuses == [b"HTTP/1.1 200"] * 5
    assert server.breaker("slow")["state"] == "limited"
    assert server.ask("/work/slow").status == 200


@servers_that_overlap
def test_streams_that_used_to_begin_and_do_not_are_refused(server: Server) -> None:
    with contextlib.closing(server.connect()) as connection:
        for _ in range(40):
            assert ask(connection, "/stream/answer").body.startswith(b"first")
    server.steer("answer", "silent")
    with contextlib.ExitStack() as stack:

        def refused() -> bool:
            client = stack.enter_context(contextlib.closing(server.begin("/stream/answer")))
            select.select([client], [], [], 0.1)
            with contextlib.suppress(BlockingIOError):
                client.setblocking(False)
                return client.recv(4096).startswith(b"HTTP/1.1 503")
            return False

        until(refused, "a stream is refused")
        server.steer("answer", "healthy")
    until(lambda: server.breaker("answer")["in_flight"] == 0, "the permits are back")


@servers_that_overlap
def test_a_room_in_which_nobody_speaks_refuses_nobody(server: Server) -> None:
    for _ in range(30):  # there is talk at first, and the visitors leave when they have heard it
        with contextlib.closing(server.begin("/endless/room")) as client:
            received = b""
            while b"first" not in received:
                received += client.recv(4096)
    server.steer("room", "silent")
    with contextlib.ExitStack() as stack:
        for _ in range(15):
            stack.enter_context(contextlib.closing(server.begin("/endless/room")))
            time.sleep(0.05)

        assert server.breaker("room")["refused"] == 0
        assert server.breaker("room")["state"] == "closed"
    server.steer("room", "healthy")
