"""Errors of real libraries: what is no fault of the callee never opens, and what is one does."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from tests.support.breaker_state import ended

from recloser import Breaker
from recloser.testing import ManualClock

REJECTED, FAILED, THROTTLED = "rejected", "failed", "throttled"


def what_it_says(error: BaseException) -> str:
    """Guard a function that raises an error, and read the verdict from the figures."""
    breaker = Breaker("k", clock=ManualClock())

    @breaker
    def call() -> None:
        raise error

    with pytest.raises(type(error)):
        call()
    if breaker.metrics().throttled:
        return THROTTLED
    return {(0, 1, 0, 0): FAILED, (0, 0, 1, 0): REJECTED}[ended(breaker)]


def test_stripe() -> None:
    stripe: Any = pytest.importorskip("stripe")

    declined = stripe.CardError("declined", None, "card_declined", http_status=402)
    assert what_it_says(declined) == REJECTED
    assert what_it_says(stripe.InvalidRequestError("m", None, http_status=404)) == REJECTED
    assert what_it_says(stripe.AuthenticationError("m", http_status=401)) == REJECTED
    assert what_it_says(stripe.SignatureVerificationError("m", "header")) == REJECTED
    assert what_it_says(stripe.RateLimitError("m", http_status=429)) == THROTTLED
    assert what_it_says(stripe.APIError("m", http_status=500)) == FAILED
    assert what_it_says(stripe.APIConnectionError("m")) == FAILED


def test_botocore() -> None:
    exceptions: Any = pytest.importorskip("botocore.exceptions")

    def client_error(code: str, status: int) -> BaseException:
        answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        made: BaseException = exceptions.ClientError(answer, "GetObject")
        return made

    assert what_it_says(client_error("NoSuchKey", 404)) == REJECTED
    assert what_it_says(client_error("AccessDenied", 403)) == REJECTED
    assert what_it_says(client_error("SlowDown", 503)) == THROTTLED
    assert what_it_says(client_error("ThrottlingException", 400)) == THROTTLED
    assert what_it_says(client_error("KMSThrottlingException", 400)) == THROTTLED
    assert what_it_says(client_error("InternalError", 500)) == FAILED
    assert what_it_says(client_error("304", 304)) == REJECTED
    assert what_it_says(client_error("PermanentRedirect", 301)) == REJECTED
    assert what_it_says(exceptions.NoCredentialsError()) == REJECTED
    assert what_it_says(exceptions.ParamValidationError(report="x")) == REJECTED
    assert what_it_says(exceptions.EndpointConnectionError(endpoint_url="", error="")) == FAILED
    assert what_it_says(exceptions.ReadTimeoutError(endpoint_url="", error="")) == FAILED


def test_aiohttp() -> None:
    """Its parser says 400 of an answer that it cannot read. That is no status of the callee."""
    aiohttp: Any = pytest.importorskip("aiohttp")
    parser: Any = pytest.importorskip("aiohttp.http_exceptions")

    def answered(status: int, cause: BaseException | None) -> BaseException:
        error: BaseException = aiohttp.ClientResponseError(None, (), status=status)
        error.__cause__ = cause
        return error

    cut = aiohttp.ClientPayloadError("Response payload is not completed")
    cut.__cause__ = parser.ContentLengthError("Not enough data to satisfy content length header.")
    assert what_it_says(cut) == FAILED
    assert what_it_says(aiohttp.ServerDisconnectedError()) == FAILED
    assert what_it_says(parser.TransferEncodingError("m")) == FAILED
    assert what_it_says(answered(400, parser.BadStatusLine("nonsense"))) == FAILED
    assert what_it_says(answered(400, None)) == REJECTED
    assert what_it_says(answered(429, None)) == THROTTLED
    assert what_it_says(aiohttp.InvalidURL("x")) == REJECTED


def test_slack() -> None:
    errors: Any = pytest.importorskip("slack_sdk.errors")
    web: Any = pytest.importorskip("slack_sdk.web")

    def api_error(code: str, status: int = 200) -> BaseException:
        response = web.SlackResponse(
            client=None,
            http_verb="POST",
            api_url="",
            req_args={},
            data={"ok": False, "error": code},
            headers={},
            status_code=status,
        )
        made: BaseException = errors.SlackApiError("m", response)
        return made

    assert what_it_says(api_error("channel_not_found")) == REJECTED
    assert what_it_says(api_error("internal_error")) == FAILED
    assert what_it_says(api_error("ratelimited", 429)) == THROTTLED
    assert what_it_says(api_error("anything", 503)) == FAILED


def test_grpc() -> None:
    grpc: Any = pytest.importorskip("grpc")
    pytest.importorskip("grpc.aio")
    failed = {"UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}

    for code in grpc.StatusCode:
        expected = FAILED if code.name in failed else REJECTED
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            expected = THROTTLED
        assert what_it_says(grpc.aio.AioRpcError(code, None, None, "")) == expected, code


@pytest.mark.parametrize("library", ["redis", "valkey"])
def test_redis(library: str) -> None:
    exceptions: Any = pytest.importorskip(f"{library}.exceptions")

    for name in ("ConnectionError", "TimeoutError", "BusyLoadingError", "ReadOnlyError"):
        assert what_it_says(getattr(exceptions, name)("m")) == FAILED, name
    for name in ("ClusterDownError", "MasterDownError"):
        assert what_it_says(getattr(exceptions, name)("m")) == FAILED, name
    for name in ("ResponseError", "NoScriptError", "WatchError", "AuthenticationError"):
        assert what_it_says(getattr(exceptions, name)("m")) == REJECTED, name
    assert what_it_says(exceptions.DataError("m")) == REJECTED


def test_sqlalchemy() -> None:
    sqlalchemy: Any = pytest.importorskip("sqlalchemy")
    exc = sqlalchemy.exc

    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE t (name TEXT UNIQUE)"))
        insert = sqlalchemy.text("INSERT INTO t VALUES ('a')")
        connection.execute(insert)
        with pytest.raises(exc.IntegrityError) as twice:
            connection.execute(insert)
        with pytest.raises(exc.NoResultFound) as nothing:
            connection.execute(sqlalchemy.text("SELECT 1 WHERE 1 = 2")).one()

    assert what_it_says(twice.value) == REJECTED
    assert what_it_says(nothing.value) == REJECTED
    for name in ("ProgrammingError", "DataError"):
        assert what_it_says(getattr(exc, name)("", {}, Exception())) == REJECTED
    for name in ("OperationalError", "InterfaceError", "InternalError"):
        assert what_it_says(getattr(exc, name)("", {}, Exception())) == FAILED
    lost = exc.ProgrammingError("", {}, Exception(), connection_invalidated=True)
    assert what_it_says(lost) == FAILED
    assert what_it_says(exc.TimeoutError("QueuePool limit")) == FAILED


def test_mysql() -> None:
    errors: Any = pytest.importorskip("pymysql.err")

    assert what_it_says(errors.OperationalError(1213, "Deadlock found")) == REJECTED
    assert what_it_says(errors.OperationalError(1205, "Lock wait timeout exceeded")) == REJECTED
    assert what_it_says(errors.OperationalError(1045, "Access denied")) == REJECTED
    assert what_it_says(errors.ProgrammingError(1064, "syntax")) == REJECTED
    assert what_it_says(errors.OperationalError(2003, "Can't connect")) == FAILED
    assert what_it_says(errors.OperationalError(1040, "Too many connections")) == FAILED
    assert what_it_says(errors.OperationalError(1290, "read-only")) == FAILED


def test_drivers_of_databases() -> None:
    assert what_it_says(sqlite3.IntegrityError("m")) == REJECTED
    assert what_it_says(sqlite3.OperationalError("database is locked")) == FAILED

    errors: Any = pytest.importorskip("psycopg.errors")
    for name in ("UniqueViolation", "UndefinedTable", "DeadlockDetected", "RaiseException"):
        assert what_it_says(getattr(errors, name)("m")) == REJECTED, name
    for name in ("AdminShutdown", "TooManyConnections", "ReadOnlySqlTransaction"):
        assert what_it_says(getattr(errors, name)("m")) == FAILED, name


def test_pymongo() -> None:
    errors: Any = pytest.importorskip("pymongo.errors")

    assert what_it_says(errors.DuplicateKeyError("m", 11000)) == REJECTED
    assert what_it_says(errors.OperationFailure("m", 2)) == REJECTED
    assert what_it_says(errors.OperationFailure("m", 189)) == FAILED
    assert what_it_says(errors.ServerSelectionTimeoutError("m")) == FAILED
    assert what_it_says(errors.ExecutionTimeout("m", 50)) == FAILED


def test_gql() -> None:
    errors: Any = pytest.importorskip("gql.transport.exceptions")

    assert what_it_says(errors.TransportQueryError("m", errors=[{"message": "x"}])) == REJECTED
    internal = [{"message": "x", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}]
    assert what_it_says(errors.TransportQueryError("m", errors=internal)) == FAILED
    assert what_it_says(errors.TransportServerError("m", 401)) == REJECTED
    assert what_it_says(errors.TransportServerError("m", 503)) == FAILED


def test_google() -> None:
    exceptions: Any = pytest.importorskip("google.api_core.exceptions")

    assert what_it_says(exceptions.NotFound("m")) == REJECTED
    assert what_it_says(exceptions.ResourceExhausted("m")) == THROTTLED
    assert what_it_says(exceptions.ServiceUnavailable("m")) == FAILED


@pytest.mark.parametrize(
    ("module", "name"),
    [("marshmallow", "ValidationError"), ("jsonschema", "ValidationError")],
)
def test_input_that_is_not_valid_is_the_callers_own(module: str, name: str) -> None:
    library: Any = pytest.importorskip(module)

    assert what_it_says(getattr(library, name)("m")) == REJECTED


def test_a_time_out_of_gevent_is_a_failure() -> None:
    gevent: Any = pytest.importorskip("gevent")
    breaker = Breaker("k")

    @breaker
    def hang() -> None:
        with gevent.Timeout(0.001):
            gevent.sleep(10.0)

    with pytest.raises(gevent.Timeout):
        hang()

    assert ended(breaker) == (0, 1, 0, 0)


def test_a_killed_greenlet_is_none() -> None:
    gevent: Any = pytest.importorskip("gevent")
    breaker = Breaker("k")
    greenlet = gevent.spawn(breaker(gevent.sleep), 10.0)
    gevent.sleep(0)

    greenlet.kill()

    assert ended(breaker) == (0, 0, 0, 1)
