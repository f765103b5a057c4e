"""For how long a server asks for a pause, by its trailing metadata."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("grpc")

from recloser_adapters.grpc._pushback import pause_of


def status_with(seconds: int, nanos: int) -> bytes:
    """A `google.rpc.Status` with a `RetryInfo` among its details, made by protobuf."""
    details: Any = pytest.importorskip("google.rpc.error_details_pb2")
    status: Any = pytest.importorskip("google.rpc.status_pb2").Status(code=8, message="slowly")
    status.details.add().Pack(details.ErrorInfo(reason="QUOTA", domain="example.org"))
    retry = details.RetryInfo()
    retry.retry_delay.seconds, retry.retry_delay.nanos = seconds, nanos
    status.details.add().Pack(retry)
    made: bytes = status.SerializeToString()
    return made


@pytest.mark.parametrize(
    ("metadata", "pause"),
    [
        ((), None),
        (None, None),
        ((("grpc-retry-pushback-ms", "2500"),), 2.5),
        ((("grpc-retry-pushback-ms", "-1"),), None),
        ((("grpc-retry-pushback-ms", "soon"),), None),
        ((("retry-after", "4"),), 4.0),
        ((("grpc-status-details-bin", b"\xff\xff"),), None),
        ((("grpc-status-details-bin", "text"),), None),
    ],
)
def test_what_metadata_says(metadata: Any, pause: float | None) -> None:
    assert pause_of(metadata) == pause


def test_the_retry_info_of_a_status_is_read() -> None:
    pairs = [("grpc-status-details-bin", status_with(3, 500_000_000))]

    assert pause_of(pairs) == pytest.approx(3.5)


@given(st.binary(max_size=80))
def test_bytes_that_are_no_status_are_no_pause_and_no_error(data: bytes) -> None:
    pause = pause_of([("grpc-status-details-bin", data)])

    assert pause is None or pause > 0.0


@given(st.integers(0, 10_000), st.integers(0, 999_999_999))
def test_each_duration_is_read_as_it_was_written(seconds: int, nanos: int) -> None:
    pause = pause_of([("grpc-status-details-bin", status_with(seconds, nanos))])

    assert pause == (pytest.approx(seconds + nanos / 1e9) if seconds or nanos else None)
