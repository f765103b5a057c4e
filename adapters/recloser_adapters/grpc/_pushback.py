"""For how long a server asks for a pause, in the metadata after its answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import isfinite

from recloser import parse_retry_after

_PUSHBACK = "grpc-retry-pushback-ms"
_DETAILS = "grpc-status-details-bin"
_RETRY_INFO = b"type.googleapis.com/google.rpc.RetryInfo"
# Fields of the messages: Status.details, Any.type_url and .value, RetryInfo.retry_delay,
# Duration.seconds and .nanos.
_STATUS_DETAILS, _TYPE_URL, _VALUE, _RETRY_DELAY, _SECONDS, _NANOS = 3, 1, 2, 1, 1, 2


def pause_of(metadata: Iterable[tuple[str, str | bytes]] | None) -> float | None:
    """Seconds for which the server asked for a pause; None if it did not, or not for any.

    Args:
        metadata: The trailing metadata: pairs of a key in lower case and a value.
    """
    # Not dict(metadata): that of the first versions has keys that are none.
    pairs = dict(list(metadata or ()))
    try:
        found = _of_pushback(pairs.get(_PUSHBACK)) or _of_details(pairs.get(_DETAILS))
    except (ValueError, IndexError):
        found = None  # not what it says it is
    if found is not None and isfinite(found) and found > 0.0:
        return found
    return parse_retry_after({k: v for k, v in pairs.items() if isinstance(v, str)})


def _of_pushback(value: str | bytes | None) -> float | None:
    # A negative number, or none at all, forbids to try again, and names no pause.
    return None if value is None else int(value) / 1000.0


def _of_details(status: str | bytes | None) -> float | None:
    """The delay of a `google.rpc.RetryInfo` in a `google.rpc.Status`.

    Read by hand: it takes a message of three numbers from a wire format that never changes, and
    spares the dependency on protobuf.
    """
    if not isinstance(status, bytes):
        return None
    for number, detail in _fields(status):
        if number != _STATUS_DETAILS or not isinstance(detail, bytes):
            continue
        any_ = dict(_fields(detail))
        value = any_.get(_VALUE)
        if any_.get(_TYPE_URL) == _RETRY_INFO and isinstance(value, bytes):
            delay = dict(_fields(value)).get(_RETRY_DELAY)
            if isinstance(delay, bytes):
                parts = dict(_fields(delay))
                return _number(parts.get(_SECONDS)) + _number(parts.get(_NANOS)) / 1e9
    return None


def _number(value: int | bytes | None) -> float:
    return float(value) if isinstance(value, int) else 0.0


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message of protobuf: number, and integer or bytes.

    Raises:
        IndexError: The message ends within a field.
        ValueError: It is none.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if wire == 2:
            length, at = _varint(message, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + length > len(message):
            raise IndexError("the message ends within a field")
        yield tag >> 3, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
