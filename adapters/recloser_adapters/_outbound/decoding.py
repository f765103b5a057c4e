"""Decodes the beginning of a compressed body, as far as the encoding is one that can be decoded here."""

from __future__ import annotations

import zlib
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any

# In one step no more is decoded than that: a few bytes can inflate to gigabytes.
_MOST = 262_144
# The first bytes of bodies that the client library has decoded already, although the header names
# an encoding: of JSON, HTML and event streams.
_PLAIN = frozenset(b'{[<: \r\n\tdei"')
# Modules that decode an encoding, the class of their decoders, and its method. httpx and aiohttp use
# them, too. A version that cannot bound its output is not used: brotli can since 1.2.
_LIBRARIES = {
    "br": (("brotli", "Decompressor", "process"), ("brotlicffi", "Decompressor", "process")),
    "zstd": (
        ("compression.zstd", "ZstdDecompressor", "decompress"),
        ("backports.zstd", "ZstdDecompressor", "decompress"),
    ),
}


class Decoder:
    """Decodes the chunks of one body, in order.

    It never raises: a body that cannot be decoded is as good as an empty one.

    Args:
        encoding: The header `content-encoding`; "" if there is none.
    """

    __slots__ = ("_begun", "_decode", "_encoding")

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding.strip().lower()
        self._begun = self._encoding in ("", "identity")
        self._decode: Any = None

    @property
    def readable(self) -> bool:
        """Whether what was fed could be decoded."""
        return self._decode is not _nothing

    def feed(self, chunk: bytes) -> bytes:
        """Decode one chunk."""
        if not chunk:
            return b""
        if not self._begun:
            self._begun = True
            if chunk[0] not in _PLAIN:
                self._decode = _decoder(self._encoding, chunk) or _nothing
        if self._decode is None:
            return chunk
        try:
            decoded: bytes = self._decode(chunk)
        except Exception:
            # Broken, or an error of a library that is not known here. The caller will get it, too.
            self._decode = _nothing
            return b""
        return decoded


def _bounded(decode: Any, chunk: bytes) -> bytes:
    data: bytes = decode(chunk, _MOST)
    return data


def _bounded_by_name(decode: Any, chunk: bytes) -> bytes:
    data: bytes = decode(chunk, output_buffer_limit=_MOST)
    return data


def _nothing(chunk: bytes) -> bytes:
    return b""


def _decoder(encoding: str, first: bytes) -> Any:
    if encoding in ("gzip", "x-gzip", "deflate"):
        # 47 accepts a gzip or a zlib header, -15 a stream without one, which some servers send.
        bare = encoding == "deflate" and first[0] & 0x0F != 8
        return partial(_bounded, zlib.decompressobj(-15 if bare else 47).decompress)
    bounded = _bounded_by_name if encoding == "br" else _bounded
    for module, kind, method in _LIBRARIES.get(encoding, ()):
        with suppress(Exception):  # not installed, or another version of it
            return partial(bounded, getattr(getattr(import_module(module), kind)(), method))
    return None
