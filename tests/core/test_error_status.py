"""The status that an error names, in each place where a library keeps one."""

from __future__ import annotations

import smtplib
import urllib.error
import xmlrpc.client
from collections.abc import Callable
from email.message import Message
from http import HTTPStatus
from types import SimpleNamespace as Thing
from typing import Any

import pytest
from tests.core.test_error_presets import make

from recloser._error_presets import FAILED, OWN, REJECTED, THROTTLES, Verdict
from recloser._error_status import verdict_of_status


def error(module: str = "app", name: str = "ApiError", /, **attributes: Any) -> BaseException:
    made = make(module, name)()
    for attribute, value in attributes.items():
        setattr(made, attribute, value)
    return made


def wrapped(by_driver: BaseException) -> BaseException:
    """An error of SQLAlchemy that stands for one of its driver."""
    return error("sqlalchemy.exc", "DBAPIError", connection_invalidated=False, orig=by_driver)


PLACES: dict[str, Callable[[int], BaseException]] = {
    "status_code": lambda status: error(status_code=status),
    "http_status": lambda status: error(http_status=status),
    "response_status_code": lambda status: error(response_status_code=status),
    "status": lambda status: error(status=status),
    "status as text": lambda status: error(status=str(int(status))),
    "response.status_code": lambda status: error(response=Thing(status_code=status)),
    "response.status": lambda status: error(response=Thing(status=status)),
    "resp.status": lambda status: error(resp=Thing(status=str(int(status)))),
    "meta.status": lambda status: error(meta=Thing(status=status)),
    "code of google": lambda status: error(
        "google.genai.errors", "APIError", code=status, status="NOT_FOUND"
    ),
    "code of werkzeug": lambda status: error("werkzeug.exceptions", "HTTPException", code=status),
    "code of gql": lambda status: error(
        "gql.transport.exceptions", "TransportServerError", code=status
    ),
    "code of what says HTTP": lambda status: error("app", "HttpError", code=status),
    "code of urllib": lambda status: urllib.error.HTTPError("", status, "", Message(), None),
    "botocore": lambda status: error(
        "botocore.exceptions",
        "ClientError",
        response={"Error": {"Code": "X"}, "ResponseMetadata": {"HTTPStatusCode": status}},
    ),
    "slack": lambda status: error(
        "slack_sdk.errors", "SlackApiError", response=Thing(status_code=status, data={})
    ),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (404, REJECTED),
        (HTTPStatus.PAYMENT_REQUIRED, REJECTED),
        (429, THROTTLES),
        (408, FAILED),
        (503, FAILED),
    ],
)
def test_an_http_status_counts_wherever_it_is(place: Any, status: int, verdict: Verdict) -> None:
    raised = place(status)

    assert verdict_of_status(raised) == verdict

    if isinstance(raised, urllib.error.HTTPError):
        raised.close()  # it is a response, too


@pytest.mark.parametrize(
    ("smtp_code", "verdict"), [(550, REJECTED), (552, REJECTED), (421, None), (451, None)]
)
def test_smtp_names_what_is_for_good(smtp_code: int, verdict: Verdict | None) -> None:
    assert verdict_of_status(smtplib.SMTPDataError(smtp_code, b"m")) == verdict


def test_a_mail_server_that_accepts_no_connection_has_failed() -> None:
    assert verdict_of_status(smtplib.SMTPConnectError(554, b"no service")) == FAILED


@pytest.mark.parametrize(("status", "verdict"), [(404, REJECTED), (503, FAILED)])
def test_xml_rpc_has_an_http_status_of_its_own(status: int, verdict: Verdict) -> None:
    assert verdict_of_status(xmlrpc.client.ProtocolError("", status, "", {})) == verdict


@pytest.mark.parametrize(
    ("close", "verdict"), [(1008, REJECTED), (1009, REJECTED), (1011, None), (None, None)]
)
def test_a_web_socket_says_why_it_is_closed(close: int | None, verdict: Verdict | None) -> None:
    made = error("websockets.exceptions", "ConnectionClosed", rcvd=Thing(code=close))

    assert verdict_of_status(made) == verdict


class DeprecatedCodeHttpError(Exception):
    status = 404

    @property
    def code(self) -> int:
        raise DeprecationWarning("use status")


def test_no_deprecated_attribute_is_read_where_there_is_another() -> None:
    assert verdict_of_status(DeprecatedCodeHttpError()) == REJECTED


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"status_code": None},
        {"status_code": 200},
        {"status_code": -1},
        {"status_code": True},
        {"status_code": "declined"},
        {"status": "RESOURCE_EXHAUSTED"},
        {"status": "4040"},
        {"status": "\u0664\u0660\u0664"},  # 404 in Arabic digits
        {"code": 404},  # in most protocols no HTTP status
        {"code": "card_declined"},
        {"response": None},
        {"response": {"Error": {}}},
        {"sqlstate": "HY000"},
        {"sqlstate": 23505},
        {"pgcode": None},
    ],
)
def test_what_is_no_status_says_nothing(attributes: dict[str, Any]) -> None:
    assert verdict_of_status(error(**attributes)) is None


@pytest.mark.parametrize("code", ["SlowDown", "ThrottlingException", "TooManyRequestsException"])
@pytest.mark.parametrize("status", [400, 503])
def test_aws_asks_for_a_pause_by_a_code(code: str, status: int) -> None:
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}

    said = verdict_of_status(error("botocore.exceptions", "ClientError", response=response))

    assert said == THROTTLES


@pytest.mark.parametrize("status", [301, 304, 307])
def test_an_answer_of_aws_that_sends_elsewhere_is_no_failure(status: int) -> None:
    response = {"ResponseMetadata": {"HTTPStatusCode": status}}

    said = verdict_of_status(error("botocore.exceptions", "ClientError", response=response))

    assert said == REJECTED


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("channel_not_found", REJECTED),
        ("invalid_auth", REJECTED),
        ("internal_error", FAILED),
        ("service_unavailable", FAILED),
        ("ratelimited", THROTTLES),
    ],
)
@pytest.mark.parametrize("is_dict", [True, False])
def test_slack_answers_200_and_a_code(code: str, verdict: Verdict, is_dict: bool) -> None:
    data = {"ok": False, "error": code}
    response = data if is_dict else Thing(status_code=200, data=data)

    said = verdict_of_status(error("slack_sdk.errors", "SlackApiError", response=response))

    assert said == verdict


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("UNAVAILABLE", FAILED),
        ("DEADLINE_EXCEEDED", FAILED),
        ("INTERNAL", FAILED),
        ("UNKNOWN", FAILED),
        ("DATA_LOSS", FAILED),
        ("RESOURCE_EXHAUSTED", THROTTLES),
        ("CANCELLED", OWN),
        ("NOT_FOUND", REJECTED),
        ("INVALID_ARGUMENT", REJECTED),
        ("ABORTED", REJECTED),
    ],
)
def test_grpc_has_codes_of_its_own(name: str, verdict: Verdict) -> None:
    base = make("grpc", "RpcError")
    call = make("grpc._channel", "_InactiveRpcError", base)()
    call.code = lambda: Thing(name=name)  # type: ignore[attr-defined]

    assert verdict_of_status(call) == verdict
    assert verdict_of_status(error("grpclib.exceptions", "GRPCError", status=Thing(name=name))) == (
        verdict
    )


@pytest.mark.parametrize("place", ["sqlstate", "pgcode"])
@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        ("23505", REJECTED),  # a key exists already
        ("42P01", REJECTED),  # no such table
        ("40P01", REJECTED),  # a deadlock
        ("25006", FAILED),  # it is no primary any more
        ("57P01", None),  # it shuts down
        ("08006", None),  # the connection failed
    ],
)
def test_a_database_names_an_sqlstate(place: str, state: str, verdict: Verdict | None) -> None:
    assert verdict_of_status(error(**{place: state})) == verdict


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("IntegrityError", REJECTED),
        ("ProgrammingError", REJECTED),
        ("DataError", REJECTED),
        ("NotSupportedError", REJECTED),
        ("OperationalError", None),
        ("InternalError", None),
    ],
)
def test_a_driver_has_the_classes_of_pep_249(name: str, verdict: Verdict | None) -> None:
    base = make("driver.errors", "DatabaseError")

    assert verdict_of_status(make("driver.errors", name, base)()) == verdict
    assert verdict_of_status(make("driver.errors", name)()) is None  # another idea of that name


@pytest.mark.parametrize(
    ("known", "verdict"),
    [
        (error("zeep.exceptions", "Fault", code="soap:Client"), REJECTED),
        (error("zeep.exceptions", "Fault", code="env:Receiver"), FAILED),
        (error("mcp.shared.exceptions", "McpError", error=Thing(code=-32602)), REJECTED),
        (error("mcp.shared.exceptions", "McpError", error=Thing(code=-32603)), FAILED),
        (error("mcp.shared.exceptions", "MCPError", error=Thing(code=-32602)), REJECTED),
        (error("mcp.shared.exceptions", "MCPError", error=Thing(code=-32002)), REJECTED),
        (error("mcp.shared.exceptions", "MCPError", error=Thing(code=-32000)), FAILED),
        (error("postgrest.exceptions", "APIError", code="PGRST116"), REJECTED),
        (error("postgrest.exceptions", "APIError", code="PGRST000"), FAILED),
        (error("postgrest.exceptions", "APIError", code="23505"), REJECTED),
        (error("postgrest.exceptions", "APIError", code=None), FAILED),
        (error("postgrest.exceptions", "APIError", code="503"), FAILED),
        (error("pymongo.errors", "OperationFailure", code=91), FAILED),
        (error("pymongo.errors", "OperationFailure", code=2), None),
        (error("sqlalchemy.exc", "DBAPIError", connection_invalidated=True), FAILED),
        (error("sqlalchemy.exc", "DBAPIError", connection_invalidated=False), None),
        (wrapped(error("psycopg.errors", "DeadlockDetected", sqlstate="40P01")), REJECTED),
        (wrapped(error("psycopg.errors", "DiskFull", sqlstate="53100")), None),
        (error("sqlite3", "Error", sqlite_errorcode=1), REJECTED),
        (error("sqlite3", "Error", sqlite_errorcode=257), REJECTED),
        (error("sqlite3", "Error", sqlite_errorcode=5), None),
        (error("sqlite3", "Error"), None),
        (make("pymysql.err", "MySQLError")(1213, "Deadlock found"), REJECTED),
        (make("pymysql.err", "MySQLError")(1040, "Too many connections"), None),
        (make("MySQLdb", "MySQLError")(), None),
        (make("redis.exceptions", "ResponseError")("BUSY Redis is busy"), FAILED),
        (make("valkey.exceptions", "ResponseError")("NOREPLICAS Not enough"), FAILED),
        (
            make("redis", "ResponseError")("Command # 1 (GET a) of pipeline caused error: BUSY x"),
            FAILED,
        ),
        (make("redis", "ResponseError")("WRONGTYPE Operation, so BUSY or not"), None),
        (make("valkey.exceptions", "ConnectionError")("Too many connections"), OWN),
        (make("redis.exceptions", "ConnectionError")("max number of clients reached"), None),
        (error("aiohttp.http_exceptions", "HttpProcessingError", code=400), FAILED),
        (error("aiohttp", "ClientResponseError", status=400), REJECTED),
        (
            error(
                "aiohttp",
                "ClientResponseError",
                status=400,
                __cause__=error("aiohttp.http_exceptions", "HttpProcessingError", code=400),
            ),
            FAILED,
        ),
        (error("github", "RateLimitExceededException", status=403), THROTTLES),
    ],
)
def test_other_protocols(known: BaseException, verdict: Verdict | None) -> None:
    assert verdict_of_status(known) == verdict


@pytest.mark.parametrize(
    ("errors", "verdict"),
    [
        (None, REJECTED),
        (["not even a mapping"], REJECTED),
        ([{"message": "no such field"}], REJECTED),
        ([{"extensions": {"code": "BAD_USER_INPUT"}}], REJECTED),
        ([{"extensions": {"code": "THROTTLED"}}], THROTTLES),
        ([{"extensions": {"code": "THROTTLED"}}, {"extensions": {"code": "X"}}], THROTTLES),
        ([{}, {"extensions": {"code": "INTERNAL_SERVER_ERROR"}}], FAILED),
    ],
)
def test_graphql_names_codes_in_its_errors(errors: Any, verdict: Verdict) -> None:
    query = error("gql.transport.exceptions", "TransportQueryError", errors=errors)

    assert verdict_of_status(query) == verdict
