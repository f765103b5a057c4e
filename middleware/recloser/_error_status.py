"""The status that an error names, wherever its library keeps it.

Most libraries name an HTTP status, some a status of their own protocol: gRPC, SQL, JSON-RPC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recloser._error_presets import (
    AWS_THROTTLES,
    DB_API,
    FAILED,
    GRAPHQL,
    GRPC,
    JSON_RPC,
    MONGO,
    MYSQL,
    OWN,
    REDIS,
    REJECTED,
    SLACK,
    SQLITE_ERROR,
    SQLSTATE_READ_ONLY,
    SQLSTATES,
    THROTTLES,
    WEB_SOCKET,
    Verdict,
    package_of,
)
from recloser._outcome import Outcome

# In these packages, and in classes whose name says HTTP, `error.code` is an HTTP status. In others it
# is none: 421 of SMTP, 20404 of Twilio, "card_declined".
_CODE_IS_STATUS = frozenset({"urllib", "google", "googleapiclient", "werkzeug", "gql", "tornado"})


def verdict_of_status(error: BaseException) -> Verdict | None:
    """What the status of an error says about the callee; None if it names none."""
    for kind in type(error).__mro__:
        read = _READERS.get(f"{package_of(kind)}.{kind.__name__}")
        if read is not None and (verdict := read(error)) is not None:
            return verdict
    for status in _statuses(error):
        if (number := _http_status(status)) is not None:
            return of_http(number)
    # Only now: in aiohttp it warns that it is deprecated.
    number = _http_status(getattr(error, "code", None)) if _code_is_status(error) else None
    return _of_sql(error) if number is None else of_http(number)


def of_http(status: int) -> Verdict:
    """What an HTTP status from 400 to 599 of an upstream says."""
    outcome = Outcome.of_upstream_status(status)
    return Verdict(outcome, answered=outcome is not Outcome.FAILURE)


def _http_status(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:4])
    return int(value) if isinstance(value, int) and 400 <= value <= 599 else None


def _statuses(error: BaseException) -> list[object]:
    """The attributes that may hold an HTTP status, in the order in which they count."""
    statuses: list[object] = [
        getattr(error, "status_code", None),  # OpenAI, Anthropic, Starlette, Elasticsearch, Qdrant
        getattr(error, "http_status", None),  # Stripe
        getattr(error, "response_status_code", None),  # Microsoft Graph
    ]
    for name in ("response", "resp", "meta"):
        response = getattr(error, name, None)
        if response is not None:
            statuses.append(getattr(response, "status_code", None))  # httpx, requests
            statuses.append(getattr(response, "status", None))  # googleapiclient, Elasticsearch
    statuses.append(getattr(error, "status", None))  # aiohttp, Kubernetes, GitHub, Twilio
    return statuses


def _code_is_status(error: BaseException) -> bool:
    kinds = type(error).__mro__
    packages = {package_of(kind) for kind in kinds}
    return (
        bool(packages & _CODE_IS_STATUS) or "http" in str([kind.__name__ for kind in kinds]).lower()
    )


# Protocols of their own


def _item(mapping: Any, key: str) -> Any:
    """An item of what may be a mapping; None if it is none, or has no such item."""
    get: Any = getattr(mapping, "get", None)
    return get(key) if isinstance(mapping, Mapping) else None


def _of_aws(error: Any) -> Verdict | None:
    response = error.response
    if _item(_item(response, "Error"), "Code") in AWS_THROTTLES:
        return THROTTLES
    told = _item(_item(response, "ResponseMetadata"), "HTTPStatusCode")
    if isinstance(told, int) and 300 <= told <= 399:
        return REJECTED  # not modified, or a bucket in another region
    status = _http_status(told)
    return None if status is None else of_http(status)


def _of_aiohttp(error: BaseException) -> Verdict | None:
    """An answer that cannot be parsed has a status in its error, which is none of the callee."""
    causes = () if error.__cause__ is None else type(error.__cause__).__mro__
    return FAILED if "HttpProcessingError" in [kind.__name__ for kind in causes] else None


def _of_parser(error: BaseException) -> Verdict:
    return FAILED  # its code is 400


def _of_slack(error: Any) -> Verdict | None:
    response = error.response
    status = _http_status(getattr(response, "status_code", None))
    if status is not None:
        return of_http(status)
    code = _item(response, "error") or _item(getattr(response, "data", None), "error")
    return SLACK.get(code, REJECTED) if isinstance(code, str) else None


def _of_grpc(error: Any) -> Verdict | None:
    code = error.code() if callable(getattr(error, "code", None)) else error.status
    name = getattr(code, "name", None)
    return GRPC.get(name, REJECTED) if isinstance(name, str) else None


def _of_graphql(error: Any) -> Verdict:
    verdict = REJECTED
    for each in error.errors or ():
        code = _item(_item(each, "extensions"), "code")
        said = GRAPHQL.get(code) if isinstance(code, str) else None
        if said is FAILED:
            return FAILED
        verdict = said or verdict
    return verdict


def _of_soap(error: Any) -> Verdict:
    code = str(error.code)
    return REJECTED if "Client" in code or "Sender" in code else FAILED


def _of_json_rpc(error: Any) -> Verdict:
    return REJECTED if error.error.code in JSON_RPC else FAILED


def _of_postgrest(error: Any) -> Verdict:
    code = str(error.code or "")
    if code.startswith("PGRST"):  # the group 0 says that the database cannot be reached
        return FAILED if code.startswith("PGRST0") else REJECTED
    status = _http_status(code)
    if status is not None:
        return of_http(status)
    return REJECTED if code[:2] in SQLSTATES else FAILED


def _of_mongo(error: Any) -> Verdict | None:
    return FAILED if error.code in MONGO else None


def _of_github_limit(error: Any) -> Verdict:
    return THROTTLES  # its status is 403


def _of_smtp(error: Any) -> Verdict | None:
    return REJECTED if 500 <= error.smtp_code <= 599 else None  # 4xx: a trouble that passes


def _of_xml_rpc(error: Any) -> Verdict | None:
    status = _http_status(error.errcode)
    return None if status is None else of_http(status)


def _of_web_socket(error: Any) -> Verdict | None:
    """By the code with which the other side closed it."""
    code = getattr(getattr(error, "rcvd", None), "code", None)
    return REJECTED if code in WEB_SOCKET else None


def _of_sqlalchemy(error: Any) -> Verdict | None:
    """By the error of the driver, which says more than the class that stands for it."""
    if error.connection_invalidated:
        return FAILED
    driver = getattr(error, "orig", None)
    return verdict_of_status(driver) if isinstance(driver, BaseException) else None


def _of_sqlite(error: Any) -> Verdict | None:
    code = getattr(error, "sqlite_errorcode", None)
    # The lowest byte is the kind of error.
    return REJECTED if isinstance(code, int) and code & 0xFF == SQLITE_ERROR else None


def _of_mysql(error: Any) -> Verdict | None:
    return REJECTED if error.args and error.args[0] in MYSQL else None


def _of_redis(error: Any) -> Verdict | None:
    """By the first word of what the server said, also within a pipeline."""
    said = str(error).rpartition("caused error: ")[2]
    return FAILED if said.partition(" ")[0] in REDIS else None


def _of_redis_pool(error: BaseException) -> Verdict | None:
    """Our own pool is full. Not all versions have a class for that."""
    return OWN if str(error) == "Too many connections" else None


def _of_sql(error: BaseException) -> Verdict | None:
    """By the SQLSTATE of an error, of any driver, or by its class of PEP 249."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if isinstance(state, str) and len(state) == 5:
        if state == SQLSTATE_READ_ONLY:
            return FAILED
        if state[:2] in SQLSTATES:
            return REJECTED
    names = [kind.__name__ for kind in type(error).__mro__]
    return REJECTED if "DatabaseError" in names and not DB_API.isdisjoint(names) else None


_READERS: Mapping[str, Callable[[Any], Verdict | None]] = {
    "botocore.ClientError": _of_aws,
    "aiohttp.ClientResponseError": _of_aiohttp,
    "aiohttp.HttpProcessingError": _of_parser,
    "slack_sdk.SlackApiError": _of_slack,
    "grpc.RpcError": _of_grpc,
    "grpclib.GRPCError": _of_grpc,
    "gql.TransportQueryError": _of_graphql,
    "zeep.Fault": _of_soap,
    "mcp.McpError": _of_json_rpc,
    "mcp.MCPError": _of_json_rpc,  # since version 2
    "postgrest.APIError": _of_postgrest,
    "pymongo.OperationFailure": _of_mongo,
    "smtplib.SMTPConnectError": lambda error: FAILED,
    "smtplib.SMTPResponseException": _of_smtp,
    "xmlrpc.ProtocolError": _of_xml_rpc,
    "websockets.ConnectionClosed": _of_web_socket,
    "sqlalchemy.DBAPIError": _of_sqlalchemy,
    "sqlite3.Error": _of_sqlite,
    "pymysql.MySQLError": _of_mysql,
    "MySQLdb.MySQLError": _of_mysql,
    "redis.ResponseError": _of_redis,
    "valkey.ResponseError": _of_redis,
    "redis.ConnectionError": _of_redis_pool,
    "valkey.ConnectionError": _of_redis_pool,
    "github.RateLimitExceededException": _of_github_limit,
}
