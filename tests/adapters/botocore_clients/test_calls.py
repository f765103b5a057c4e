"""Calls of boto3: what counts as what, on a real socket."""

from __future__ import annotations

import io
import json
import pickle
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.outage import ASKED_BY_ALL
from tests.support.scripted_upstream import (
    LAST,
    Gate,
    Upstream,
    answer,
    chunk,
    closed_port,
    cut,
    head,
)

from recloser import BreakerOpenError, Outcome, Registry, State
from recloser.testing import ManualClock

from .conftest import Connect

pytest.importorskip("boto3")

from botocore import handlers
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import ProtocolError

from recloser_adapters.botocore import BreakerOpenEndpointError, CallReport, nothing_sent

JSON = {"content-type": "application/x-amz-json-1.0"}
OBJECT = "/bucket/name"


def aws_error(status: int, code: str, headers: dict[str, str] | None = None) -> bytes:
    """An error of a service that speaks JSON."""
    return answer(status, json.dumps({"__type": code}).encode(), {**JSON, **(headers or {})})


def s3_error(status: int, code: str) -> bytes:
    body = f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()
    return answer(status, body, {"content-type": "application/xml"})


def key_of(upstream: Upstream, operation: str) -> str:
    return f"{operation} {upstream.host}"


def test_an_object_is_put_and_read(
    connect: Connect, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers(OBJECT, answer(200, headers={"etag": '"e"'}))
    upstream.answers(OBJECT, answer(200, b"content"))
    s3 = connect("s3")

    s3.put_object(Bucket="bucket", Key="name", Body=b"content")
    assert s3.get_object(Bucket="bucket", Key="name")["Body"].read() == b"content"

    assert {each.key: votes(each.metrics()) for each in registry} == {
        key_of(upstream, "s3.PutObject"): {"successes": 1},
        key_of(upstream, "s3.GetObject"): {"successes": 1},
    }
    assert registry.faults == 0


@pytest.mark.parametrize(
    ("status", "code", "counted"),
    [
        (400, "ResourceNotFoundException", "ignored"),
        (400, "ConditionalCheckFailedException", "ignored"),
        (403, "AccessDeniedException", "ignored"),
        (400, "ThrottlingException", "throttled"),
        (400, "ProvisionedThroughputExceededException", "throttled"),
        (400, "RequestLimitExceeded", "throttled"),
        (429, "TooManyRequestsException", "throttled"),
        (500, "InternalServerError", "failures"),
        (503, "ServiceUnavailable", "failures"),
        (503, "SlowDown", "throttled"),
    ],
)
def test_a_code_says_whose_fault_it_was(
    connect: Connect, upstream: Upstream, registry: Registry, status: int, code: str, counted: str
) -> None:
    upstream.answers("/", aws_error(status, code))
    table = connect("dynamodb")

    with pytest.raises(ClientError) as raised:
        table.get_item(TableName="t", Key={"id": {"S": "1"}})

    assert raised.value.response["Error"]["Code"] == code
    # Who is asked to wait is kept apart by access key.
    counts = [votes(each.metrics()) for each in registry]
    assert counts == (
        [{"ignored": 1}, {"throttled": 1}] if counted == "throttled" else [{counted: 1}]
    )


def test_an_object_that_is_missing_proves_that_the_service_lives(
    connect: Connect, upstream: Upstream, registry: Registry, clock: ManualClock
) -> None:
    upstream.answers(OBJECT, s3_error(404, "NoSuchKey"))
    s3 = connect("s3")
    breaker = registry[key_of(upstream, "s3.GetObject")]
    breaker.open(for_=30.0)
    clock.advance(60.0)

    for _ in range(10):
        with pytest.raises(s3.exceptions.NoSuchKey):
            s3.get_object(Bucket="bucket", Key="name")

    assert breaker.state is State.CLOSED


@pytest.mark.parametrize(
    ("status", "headers"), [(304, {}), (301, {"x-amz-bucket-region": "eu-west-1"})]
)
def test_an_answer_that_sends_elsewhere_is_one(
    connect: Connect, upstream: Upstream, registry: Registry, status: int, headers: dict[str, str]
) -> None:
    upstream.answers(OBJECT, answer(status, headers=headers))

    with pytest.raises(ClientError):
        connect("s3").head_object(Bucket="bucket", Key="name")

    breaker = registry[key_of(upstream, "s3.HeadObject")]
    assert votes(breaker.metrics()) == {"successes": breaker.metrics().calls}


def test_an_error_in_an_answer_of_200_is_one(
    connect: Connect, upstream: Upstream, registry: Registry
) -> None:
    """S3 begins to answer before it has copied an object."""
    if not hasattr(handlers, "_handle_200_error"):
        pytest.skip("this version looks for it only when it decides whether to retry")
    upstream.answers(OBJECT, s3_error(200, "InternalError"))

    with pytest.raises(ClientError):
        connect("s3").copy_object(Bucket="bucket", Key="name", CopySource="bucket/other")

    assert votes(registry[key_of(upstream, "s3.CopyObject")].metrics()) == {"failures": 1}


@pytest.mark.parametrize("headers", [{"x-amz-retry-after": "30000"}, {"retry-after": "30"}])
def test_a_pause_that_all_are_asked_for_is_obeyed(
    connect: Connect,
    upstream: Upstream,
    registry: Registry,
    clock: ManualClock,
    headers: dict[str, str],
) -> None:
    upstream.answers(OBJECT, answer(200, b"before"))
    upstream.answers(
        OBJECT, answer(503, s3_error(503, "SlowDown").partition(b"\r\n\r\n")[2], headers)
    )
    s3 = connect("s3")
    s3.get_object(Bucket="bucket", Key="name")["Body"].read()
    for _ in range(ASKED_BY_ALL):
        with pytest.raises(ClientError, match="SlowDown"):
            s3.get_object(Bucket="bucket", Key="name")

    clock.advance(29.0)
    with pytest.raises(BreakerOpenEndpointError) as refused:
        s3.get_object(Bucket="bucket", Key="name")

    assert 0.0 < refused.value.retry_after <= 1.5


# Attempts


@pytest.mark.parametrize("mode", ["standard", "legacy", "adaptive"])
def test_each_retry_is_a_call(
    connect: Connect, upstream: Upstream, registry: Registry, mode: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    upstream.answers("/", aws_error(500, "InternalServerError"))
    upstream.answers("/", cut)
    upstream.answers("/", answer(200, b"{}", JSON))

    connect("dynamodb", attempts=4, mode=mode).get_item(TableName="t", Key={"id": {"S": "1"}})

    breaker = registry[key_of(upstream, "dynamodb.GetItem")]
    assert votes(breaker.metrics()) == {"failures": 2, "successes": 1}


@pytest.mark.parametrize("mode", ["standard", "legacy", "adaptive"])
def test_a_refusal_is_not_retried(
    connect: Connect, upstream: Upstream, registry: Registry, mode: str, monkeypatch: Any
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    s3 = connect("s3", attempts=5, mode=mode)
    breaker = registry[key_of(upstream, "s3.GetObject")]
    breaker.open("maintenance")

    with pytest.raises(EndpointConnectionError) as refused:
        s3.get_object(Bucket="bucket", Key="name")

    assert isinstance(refused.value, BotoCoreError)
    assert isinstance(refused.value, BreakerOpenError)
    assert not isinstance(refused.value, ClientError)
    assert nothing_sent(refused.value)
    assert "maintenance" in str(refused.value)
    assert (slept, upstream.connections) == ([], 0)
    assert votes(breaker.metrics()) == {"refused": 1}


def test_a_breaker_that_opens_ends_the_retries(
    connect: Connect, upstream: Upstream, registry: Registry, monkeypatch: Any
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    upstream.answers("/", aws_error(500, "InternalServerError"))

    with pytest.raises(BreakerOpenEndpointError):
        connect("dynamodb", attempts=50).get_item(TableName="t", Key={"id": {"S": "1"}})

    failures = registry[key_of(upstream, "dynamodb.GetItem")].metrics().failures
    assert upstream.count("/") == failures < 10


def test_a_refusal_can_be_pickled(connect: Connect, upstream: Upstream, registry: Registry) -> None:
    registry[key_of(upstream, "s3.GetObject")].open()

    with pytest.raises(BreakerOpenEndpointError) as refused:
        connect("s3").get_object(Bucket="bucket", Key="name")

    copy = pickle.loads(pickle.dumps(refused.value))
    assert (type(copy), copy.key, str(copy)) == (
        BreakerOpenEndpointError,
        key_of(upstream, "s3.GetObject"),
        str(refused.value),
    )


# Errors on the wire


def test_a_service_that_cannot_be_reached_fails(connect: Connect, registry: Registry) -> None:
    with closed_port() as port, pytest.raises(EndpointConnectionError) as raised:
        connect("s3", endpoint_url=f"http://127.0.0.1:{port}").list_buckets()

    assert nothing_sent(raised.value)
    breaker = registry[f"s3.ListBuckets 127.0.0.1:{port}"]
    assert votes(breaker.metrics()) == {"failures": 1}


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ((cut,), ConnectionClosedError),
        ((Gate(),), ReadTimeoutError),
        ((head(200, JSON), chunk(b"{"), cut), HTTPClientError),
    ],
)
def test_what_is_no_answer_fails(
    connect: Connect, upstream: Upstream, registry: Registry, script: Any, error: Any
) -> None:
    upstream.answers("/", *script)

    with pytest.raises(error) as raised:
        connect("dynamodb", read_timeout=0.2).list_tables()

    assert not nothing_sent(raised.value)
    breaker = registry[key_of(upstream, "dynamodb.ListTables")]
    assert votes(breaker.metrics()) == {"failures": 1}


def test_an_answer_that_nobody_can_read_fails(
    connect: Connect, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers("/", answer(200, b"<GetCallerIdentityResponse><Re"))

    with pytest.raises(ResponseParserError):
        connect("sts").get_caller_identity()

    assert votes(registry[key_of(upstream, "sts.GetCallerIdentity")].metrics()) == {"failures": 1}


def test_a_file_that_cannot_be_read_is_the_callers_own_fault(
    connect: Connect, upstream: Upstream, registry: Registry
) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise LookupError("a bug of the caller's")

    upstream.answers(OBJECT, answer(200))
    s3 = connect("s3")

    with pytest.raises((HTTPClientError, LookupError)):
        s3.put_object(Bucket="bucket", Key="name", Body=Broken(b"x" * 100), ContentLength=100)

    # botocore may read the file before there is a request, to sign it.
    assert {name for each in registry for name in votes(each.metrics())} <= {"ignored"}


def test_an_argument_that_is_not_valid_is_no_call(connect: Connect, registry: Registry) -> None:
    with pytest.raises(BotoCoreError):
        connect("s3").get_object(Bucket="bucket")

    assert len(registry) == 0


# Bodies


def test_a_body_ends_the_call_and_its_latency_is_the_time_to_the_headers(
    connect: Connect, upstream: Upstream, registry: Registry, clock: ManualClock
) -> None:
    gate = Gate()
    upstream.answers(OBJECT, head(), chunk(b"con"), gate, chunk(b"tent"), LAST)
    reports: list[CallReport] = []
    s3 = connect("s3", on_end=reports.append)
    breaker = registry[key_of(upstream, "s3.GetObject")]

    body = s3.get_object(Bucket="bucket", Key="name")["Body"]
    assert breaker.metrics().in_flight == 1
    clock.advance(7.0)
    gate.open()

    assert b"".join(body.iter_chunks(4)) == b"content"
    assert [(each.outcome, each.latency, each.duration) for each in reports] == [
        (Outcome.SUCCESS, 0.0, 7.0)
    ]


READS: dict[str, Any] = {
    "read": lambda body: body.read(),
    "list": list,
    "lines": lambda body: list(body.iter_lines()),
    "readlines": lambda body: body.readlines(),
    "readinto": lambda body: [body.readinto(bytearray(100)) for _ in range(3)],
}


@pytest.mark.parametrize("name", READS)
def test_a_body_that_breaks_off_is_a_failure_however_it_is_read(
    connect: Connect, upstream: Upstream, registry: Registry, name: str
) -> None:
    upstream.answers(OBJECT, head(200, {"content-length": "100"}), b"half", cut)
    body = connect("s3").get_object(Bucket="bucket", Key="name")["Body"]
    if not hasattr(body, name) and name == "readinto":
        pytest.skip("a body of this version has no such method")

    # botocore does not translate the error of `readlines`.
    with pytest.raises((ResponseStreamingError, ProtocolError)):
        READS[name](body)

    assert votes(registry[key_of(upstream, "s3.GetObject")].metrics()) == {"failures": 1}


def test_a_body_that_is_closed_is_a_success(
    connect: Connect, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers(OBJECT, head(), chunk(b"con"), Gate(), LAST)

    connect("s3").get_object(Bucket="bucket", Key="name")["Body"].close()

    assert votes(registry[key_of(upstream, "s3.GetObject")].metrics()) == {"successes": 1}


def test_a_transfer_of_a_file_is_guarded_too(
    connect: Connect, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers(OBJECT, answer(200, b"content", {"etag": '"e"'}))
    into = io.BytesIO()

    connect("s3").download_fileobj("bucket", "name", into)

    assert into.getvalue() == b"content"
    assert votes(registry[key_of(upstream, "s3.GetObject")].metrics()) == {"successes": 1}
