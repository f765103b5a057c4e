"""Messages of an event stream of AWS, with the checksums that its SDK demands."""

from __future__ import annotations

import json
from binascii import crc32


def _text(name: str, value: str) -> bytes:
    return bytes([len(name)]) + name.encode() + b"\x07" + len(value).to_bytes(2) + value.encode()


def message(kind: str, name: str, payload: object) -> bytes:
    """One message.

    Args:
        kind: `event` or `exception`.
        name: The type of the event or of the exception.
        payload: Its document.
    """
    headers = {
        ":message-type": kind,
        f":{kind}-type": name,
        ":content-type": "application/json",
    }
    head = b"".join(_text(key, value) for key, value in headers.items())
    body = json.dumps(payload).encode()
    prelude = (12 + len(head) + len(body) + 4).to_bytes(4) + len(head).to_bytes(4)
    prelude += crc32(prelude).to_bytes(4)
    whole = prelude + head + body
    return whole + crc32(whole).to_bytes(4)
