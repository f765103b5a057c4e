"""A provider with HTTP/2 in clear text (prior knowledge), on a real socket."""

from __future__ import annotations

import contextlib
import socket
from importlib import import_module
from typing import Any

from tests.support.scripted_upstream import Listening

BODY = b"spoken in frames"


class H2Upstream(Listening):
    """Answers 200. It answers `/error` with 502, and resets `/reset` in the middle of the body."""

    def serve(self, wire: socket.socket) -> None:
        # Imported here, because an environment without httpx does not have h2.
        h2: Any = import_module("h2.connection")
        events: Any = import_module("h2.events")
        config: Any = import_module("h2.config")
        with wire, contextlib.suppress(OSError):
            speaker = h2.H2Connection(config.H2Configuration(client_side=False))
            speaker.initiate_connection()
            wire.sendall(speaker.data_to_send())
            while data := wire.recv(65536):
                for event in speaker.receive_data(data):
                    if isinstance(event, events.RequestReceived):
                        self._answer(speaker, event.stream_id, dict(event.headers))
                wire.sendall(speaker.data_to_send())

    def _answer(self, speaker: Any, stream: int, headers: dict[Any, Any]) -> None:
        named = {_text(name): _text(value) for name, value in headers.items()}
        path = named[":path"]
        speaker.send_headers(stream, [(":status", "502" if path == "/error" else "200")])
        speaker.send_data(stream, BODY, end_stream=path != "/reset")
        if path == "/reset":
            speaker.reset_stream(stream, error_code=2)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
