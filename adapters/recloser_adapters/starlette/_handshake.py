"""The watch of a WebSocket handshake."""

from __future__ import annotations

from starlette.types import Message
from starlette.websockets import WebSocket

from recloser import Outcome, Permit


def watch_handshake(websocket: WebSocket, permit: Permit) -> None:
    """End a permit with the handshake: accepting is a success, closing has no vote.

    The `send` of this one object is replaced until the handshake is over. The session that follows
    is not part of the call.
    """
    attributes = vars(websocket)
    before = attributes.get("send")
    send = websocket.send
    status = 0

    async def watched_send(message: Message) -> None:
        nonlocal status
        kind = message["type"]
        more = False
        if kind == "websocket.accept":
            permit.success()
        elif kind == "websocket.close":
            permit.mark()  # it answered
            permit.ignore()
        elif kind == "websocket.http.response.start":
            status, more = message["status"], True
            permit.mark()
        elif kind == "websocket.http.response.body":
            more = message.get("more_body", False)
            if not more:
                permit.end(Outcome.of_status(status), error=f"HTTP {status}")
        if not more and attributes.get("send") is watched_send:
            if before is None:
                del attributes["send"]
            else:
                attributes["send"] = before
        await send(message)

    attributes["send"] = watched_send
