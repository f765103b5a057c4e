"""A provider that speaks HTTP/2 in clear text, with prior knowledge, over a real socket."""

from __future__ import annotations

import contextlib
import socket
import threading
from importlib import import_module
from types import TracebackType
from typing import Any, Self

BODY = b"spoken in frames"


class H2Upstream:
    """Answers 200, `/error` with 502, and resets `/reset` in the middle of its body."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._wires: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for sock in (self._listener, *self._wires):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10.0)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                wire, _ = self._listener.accept()
                self._wires.append(wire)
                thread = threading.Thread(target=self._serve, args=(wire,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, wire: socket.socket) -> None:
        # Imported here: a row without httpx has no h2 either.
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
