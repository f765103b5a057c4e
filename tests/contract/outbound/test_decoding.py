"""Compressed bodies: the beginning is decoded for our own eyes, within bounds, and never raises."""

from __future__ import annotations

import gzip
import sys
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.decoding import _LIBRARIES, Decoder

SAID = b'{"error": {"message": "Overloaded", "type": "overloaded_error"}}'


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("", SAID),
        ("identity", SAID),
        ("gzip", gzip.compress(SAID)),
        (" GZip ", gzip.compress(SAID)),
        ("x-gzip", gzip.compress(SAID)),
        ("deflate", zlib.compress(SAID)),
        ("deflate", raw_deflate(SAID)),
    ],
    # Not the bytes: in those of gzip is the time.
    ids=["none", "identity", "gzip", "GZip", "x-gzip", "deflate", "raw deflate"],
)
def test_what_was_said_is_read_in_pieces_of_any_size(encoding: str, packed: bytes) -> None:
    for size in (1, 7, len(packed)):
        decoder = Decoder(encoding)

        pieces = [decoder.feed(packed[at : at + size]) for at in range(0, len(packed), size)]

        assert b"".join(pieces) == SAID
        assert decoder.readable


def test_a_body_that_its_client_has_decoded_already_is_read_as_it_is() -> None:
    """Though the header still names the encoding."""
    for plain in (
        b'{"a"',
        b"[1",
        b"<html>",
        b": ping",
        b" {",
        b"\r\n",
        b"\t{",
        b"data: x",
        b"event: x",
    ):
        decoder = Decoder("gzip")

        assert decoder.feed(plain) == plain
        assert decoder.feed(b"\x1f\x8b") == b"\x1f\x8b"


def test_nothing_fed_is_no_beginning() -> None:
    decoder = Decoder("gzip")

    assert decoder.feed(b"") == b""
    assert decoder.feed(gzip.compress(SAID)) == SAID


def packer(encoding: str) -> Callable[[bytes], bytes]:
    if encoding in ("gzip", "deflate"):
        return gzip.compress if encoding == "gzip" else zlib.compress
    # In the tox rows of httpx; else: pip install 'brotli>=1.2' backports.zstd
    library = pytest.importorskip("brotli" if encoding == "br" else "backports.zstd")
    pack: Callable[[bytes], bytes] = library.compress
    return pack


@pytest.mark.parametrize("encoding", ["br", "zstd"])
def test_what_the_real_libraries_have_packed_is_read(encoding: str) -> None:
    packed = packer(encoding)(SAID)
    decoder = Decoder(encoding)

    assert decoder.feed(packed[:5]) + decoder.feed(packed[5:]) == SAID


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_what_inflates_to_gigabytes_takes_no_more_than_a_moment_of_memory(encoding: str) -> None:
    packed = packer(encoding)(b"[" + bytes(64_000_000))
    decoder = Decoder(encoding)
    tracemalloc.start()
    try:
        decoded = decoder.feed(packed)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert decoded[:1] == b"["
    assert 262_144 <= len(decoded) <= 2 * 262_144  # brotli keeps the bound by blocks
    assert most < 2_000_000


def test_a_brotli_that_cannot_bound_its_output_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        class Decompressor:
            def process(self, data: bytes) -> bytes:
                return b"{"

    for name, _, _ in _LIBRARIES["br"]:
        monkeypatch.setitem(sys.modules, name, Old)
    decoder = Decoder("br")

    assert decoder.feed(b"\x8b") == b""
    assert not decoder.readable


@pytest.mark.parametrize(
    ("encoding", "chunk"),
    [
        ("gzip", b"XX"),
        ("gzip", b"\x1f\x8b not gzip"),
        ("deflate", b"\x78\x9c\xff\xff\xff"),
        ("unheard-of", b"\x01"),
    ],
)
def test_what_cannot_be_decoded_is_as_good_as_nothing(encoding: str, chunk: bytes) -> None:
    decoder = Decoder(encoding)

    assert decoder.feed(chunk) == b""
    assert decoder.feed(SAID) == b""
    assert not decoder.readable


class Library:
    """A module that decompresses, such as that of brotli, and that of zstd."""

    class Decompressor:
        def process(self, data: bytes, *, output_buffer_limit: int) -> bytes:
            return data[::-1][:output_buffer_limit]

    class ZstdDecompressor:
        def decompress(self, data: bytes, max_length: int) -> bytes:
            return data[::-1][:max_length]


@pytest.mark.parametrize(
    ("encoding", "installed"),
    [
        ("br", "brotli"),
        ("br", "brotlicffi"),
        ("zstd", "compression.zstd"),
        ("zstd", "backports.zstd"),
    ],
)
def test_a_library_is_used_where_one_is_installed(
    monkeypatch: pytest.MonkeyPatch, encoding: str, installed: str
) -> None:
    for name, _, _ in _LIBRARIES[encoding]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, installed, Library)

    assert Decoder(encoding).feed(b"\x8bcba") == b"abc\x8b"


def test_what_is_not_encoded_is_read_whatever_it_begins_with() -> None:
    assert Decoder("").feed(b"\x00") == Decoder("identity").feed(b"\x00") == b"\x00"


def test_where_none_is_nothing_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, _, _ in _LIBRARIES["br"]:
        monkeypatch.setitem(sys.modules, name, None)
    decoder = Decoder("br")

    assert decoder.feed(b"\x8bcba") == b""
    assert not decoder.readable
