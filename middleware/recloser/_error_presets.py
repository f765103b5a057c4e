"""What errors say about a callee by their class: those of Python, and of libraries in wide use.

The tables are data. Nothing is imported: a class is known by its package and its name, such as
`redis.ResponseError` (wherever in the package it is), and so are its subclasses. The first class of
`type(error).__mro__` that a table knows decides. `*` stands for any package.

What names an HTTP status needs no line here, see `_error_status.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from recloser._outcome import Outcome


class Verdict(NamedTuple):
    """What an error says about the callee.

    Attributes:
        outcome: The outcome of the call.
        answered: Whether it proves that the callee answered. What is the caller's own fault may be
            an answer (a card was declined) or not (nothing was sent).
    """

    outcome: Outcome
    answered: bool = False


FAILED = Verdict(Outcome.FAILURE)
"""The callee failed, could not be reached, or sent something that nobody can read."""
REJECTED = Verdict(Outcome.IGNORED, answered=True)
"""The callee answered, and works: it did not accept what the caller wanted."""
OWN = Verdict(Outcome.IGNORED)
"""It says nothing about the callee: a mistake in the program, in its settings or in its input."""
THROTTLES = Verdict(Outcome.THROTTLED, answered=True)
"""The callee answered that it wants a pause."""


def _table(*rows: tuple[Verdict, str, str]) -> Mapping[str, Verdict]:
    """A table from rows of a verdict, packages, and names of classes in each of them."""
    return {
        f"{package}.{name}": verdict
        for verdict, packages, names in rows
        for package in packages.split()
        for name in names.split()
    }


KNOWN: Mapping[str, Verdict] = _table(
    # Python. What cannot be parsed is what the callee sent. See `is_of_files` for an `OSError`.
    (FAILED, "builtins", "OSError"),
    (FAILED, "*", "JSONDecodeError"),
    (FAILED, "xml", "ParseError"),  # a SyntaxError
    (OWN, "io _io", "UnsupportedOperation"),  # an OSError
    (OWN, "http", "InvalidURL"),
    (REJECTED, "smtplib", "SMTPRecipientsRefused SMTPSenderRefused SMTPAuthenticationError"),
    (OWN, "smtplib", "SMTPNotSupportedError"),
    (REJECTED, "ftplib", "error_perm"),
    # HTTP clients: what they refuse to send.
    (OWN, "httpx httpx2", "InvalidURL UnsupportedProtocol LocalProtocolError CookieConflict"),
    (OWN, "httpx httpx2", "StreamError"),
    (OWN, "requests", "InvalidURL MissingSchema InvalidSchema InvalidHeader UnrewindableBodyError"),
    (OWN, "aiohttp", "InvalidURL NonHttpUrlClientError"),
    # They are raised from an error with the code 400, by which aiohttp means its own parser.
    (FAILED, "aiohttp", "ClientPayloadError ClientConnectionError"),
    (OWN, "urllib3", "LocationValueError HostChangedError UnrewindableBodyError"),
    (OWN, "urllib3", "EmptyPoolError ClosedPoolError"),  # no free connection in our own pool
    # Databases; see also `DB_API` and `SQLSTATES`.
    (REJECTED, "*", "DoesNotExist ObjectDoesNotExist MultipleObjectsReturned"),
    (REJECTED, "*", "NoResultFound MultipleResultsFound StaleDataError"),
    (FAILED, "sqlalchemy", "DBAPIError DisconnectionError TimeoutError"),
    (OWN, "sqlalchemy", "ArgumentError InvalidRequestError CompileError StatementError"),
    (OWN, "sqlalchemy", "DetachedInstanceError FlushError CircularDependencyError IdentifierError"),
    # Who waited in vain for a connection waited for others that the database has not answered. Who was
    # turned away at once says only that our own queue is full.
    (FAILED, "psycopg_pool", "PoolTimeout"),
    (OWN, "psycopg_pool", "PoolClosed TooManyRequests"),
    (OWN, "psycopg", "PipelineAborted"),
    (FAILED, "redis valkey aioredis", "ConnectionError TimeoutError ReadOnlyError TryAgainError"),
    (FAILED, "redis valkey aioredis", "ClusterError ClusterDownError OutOfMemoryError"),
    (REJECTED, "redis valkey aioredis", "ResponseError WatchError AuthenticationError"),
    (REJECTED, "redis valkey aioredis", "AuthorizationError"),
    (OWN, "redis valkey aioredis", "DataError PubSubError LockError MaxConnectionsError"),
    (OWN, "redis valkey", "CrossSlotTransactionError InvalidPipelineStack"),
    (FAILED, "pymongo", "ConnectionFailure ExecutionTimeout WTimeoutError"),
    (REJECTED, "pymongo", "OperationFailure CursorNotFound"),
    (
        OWN,
        "pymongo",
        "ConfigurationError InvalidName InvalidOperation InvalidURI CollectionInvalid",
    ),
    (OWN, "bson", "BSONError"),
    # Providers
    (OWN, "stripe", "SignatureVerificationError"),
    (REJECTED, "razorpay", "BadRequestError"),
    (OWN, "razorpay", "SignatureVerificationError"),
    (OWN, "botocore", "NoCredentialsError PartialCredentialsError NoRegionError ProfileNotFound"),
    (OWN, "botocore", "ParamValidationError ValidationError MissingParametersError"),
    (OWN, "botocore", "DataNotFoundError UnknownServiceError UnknownParameterError"),
    (OWN, "slack_sdk", "SlackRequestError SlackObjectFormationError"),
    (FAILED, "gql", "TransportProtocolError TransportConnectionFailed"),
    (OWN, "gql", "TransportAlreadyConnected TransportClosed"),
    (OWN, "graphql", "GraphQLError"),  # a query that does not fit the schema is not sent
    (OWN, "zeep", "ValidationError LookupError NamespaceError"),
    # Frameworks of agents
    (THROTTLES, "pydantic_ai", "ModelRateLimitError ModelQuotaExceededError"),
    (REJECTED, "pydantic_ai", "ModelRequestRejectedError ContentFilterError"),
    (OWN, "pydantic_ai", "UserError RunCancelled UsageLimitExceeded ConcurrencyLimitExceeded"),
    (THROTTLES, "langchain_core", "ModelRateLimitError"),
    (REJECTED, "langchain_core", "ModelAuthenticationError ModelPermissionDeniedError"),
    (REJECTED, "langchain_core", "ModelInvalidRequestError ModelNotFoundError ModelRefusalError"),
    (REJECTED, "langchain_core", "ContextOverflowError OutputParserException"),
    # Frameworks and validation
    (OWN, "django", "ValidationError PermissionDenied SuspiciousOperation FieldError Http404"),
    (OWN, "django", "ImproperlyConfigured"),
    (OWN, "*", "ValidationError SchemaError RequestValidationError"),
    (OWN, "jwt", "PyJWTError"),
    (FAILED, "jwt", "PyJWKClientError"),  # a PyJWTError
)

# What says nothing about a callee if nothing else is known of the error: the error that it was
# raised from, or a status, says more. `RuntimeError` is not among them: many libraries raise it for
# a callee that does not work. Of what `ValueError` stands for, what a callee has sent is in `KNOWN`.
OF_THE_PROGRAM: Mapping[str, Verdict] = _table(
    (OWN, "builtins", "ValueError TypeError LookupError AttributeError ArithmeticError NameError"),
    (OWN, "builtins", "AssertionError NotImplementedError RecursionError ImportError SyntaxError"),
    (OWN, "builtins", "MemoryError BufferError ReferenceError SystemError Warning"),
    (OWN, "builtins", "StopIteration StopAsyncIteration"),
)

DB_API = frozenset({"IntegrityError", "ProgrammingError", "DataError", "NotSupportedError"})
"""Errors of PEP 249 that are the caller's, of any driver: below a class named `DatabaseError`."""

SQLSTATES = frozenset(
    [
        "02",
        "0A",
        "21",
        "22",
        "23",
        "24",
        "25",
        "26",
        "28",
        "2B",
        "2D",
        "34",
        "3D",
        "3F",
        "40",
        "42",
        "44",
        "45",
        "54",
        "55",
        "P0",
    ]
)
"""Classes of SQLSTATE that are the caller's: its data, statement or rights, or a conflict with others."""
SQLSTATE_READ_ONLY = "25006"
"""The exception: after a switch of servers, the one that is asked is not the primary."""

MYSQL = frozenset({1044, 1045, 1049, 1142, 1143, 1205, 1213, 3572})
"""Codes of MySQL that are the caller's, of those that its drivers call operational: rights, no such
database, and conflicts (a lock that was awaited too long, a deadlock)."""

SQLITE_ERROR = 1
"""The code of SQLite for a statement that cannot be run: wrong SQL, no such table."""

REDIS = frozenset({"BUSY", "MISCONF", "NOREPLICAS", "LOADING", "CLUSTERDOWN", "MASTERDOWN"})
"""Codes of Redis by which it does not serve. For some of them its clients have no class."""

GRPC: Mapping[str, Verdict] = {
    **dict.fromkeys(
        ("UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "DATA_LOSS"), FAILED
    ),
    "RESOURCE_EXHAUSTED": THROTTLES,
    "CANCELLED": OWN,  # by this side
}
"""Status codes of gRPC. All others are the caller's."""

AWS_THROTTLES = frozenset(
    [
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottledException",
        "RequestThrottled",
        "TooManyRequestsException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "SlowDown",
        "SlowDownRead",  # MinIO
        "SlowDownWrite",
        "KMSThrottlingException",
        "EC2ThrottledException",
        "TransactionInProgressException",
        "PriorRequestNotComplete",
    ]
)
"""Error codes of AWS for a pause; their HTTP status is 400 or 503."""

SLACK: Mapping[str, Verdict] = {
    **dict.fromkeys(("internal_error", "fatal_error", "service_unavailable"), FAILED),
    "ratelimited": THROTTLES,
    "rate_limited": THROTTLES,
}
"""Error codes of Slack in an answer of HTTP 200 with `ok: false`. All others are the caller's."""

MONGO = frozenset({6, 7, 50, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436})
"""Codes of MongoDB for a server that shuts down, is no primary, or does not answer in time."""

GRAPHQL: Mapping[str, Verdict] = {
    **dict.fromkeys(
        ("INTERNAL_SERVER_ERROR", "SERVICE_UNAVAILABLE", "DOWNSTREAM_SERVICE_ERROR"), FAILED
    ),
    **dict.fromkeys(("RATE_LIMITED", "THROTTLED", "TOO_MANY_REQUESTS"), THROTTLES),
}
"""`extensions.code` of GraphQL errors. All others are the caller's."""

JSON_RPC = frozenset(
    {
        *(-32600, -32601, -32602),  # no request, no such method, no such arguments
        *(-32002, -32020, -32021, -32022),  # MCP: no such resource, header, capability, version
        -32042,  # MCP: the user must do something first
    }
)
"""Codes of JSON-RPC, as MCP uses it, that are the caller's."""

WEB_SOCKET = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010})
"""Codes with which a WebSocket is closed because it is done, or because of what the caller sent."""


def preset(error: BaseException, table: Mapping[str, Verdict]) -> Verdict | None:
    """The verdict of a table on an error; None if it does not know the class of it."""
    for kind in type(error).__mro__:
        name = kind.__name__
        verdict = table.get(f"{package_of(kind)}.{name}") or table.get(f"*.{name}")
        if verdict is not None:
            return verdict
    return None


def is_of_files(error: BaseException) -> bool:
    """Whether an `OSError` is of a file of the program: it is missing, or may not be opened.

    Python names the file where it failed to open one. It names none where a socket file is missing,
    such as that of a database, or a firewall forbids to connect: then the callee cannot be reached.
    What was raised without a code did not come from the system.
    """
    of_files = (
        FileNotFoundError,
        PermissionError,
        FileExistsError,
        IsADirectoryError,
        NotADirectoryError,
    )
    if not isinstance(error, of_files):
        return False
    return error.filename is not None or error.errno is None


def package_of(kind: type) -> str:
    """The first part of the name of the module that a class is from."""
    return str(kind.__module__).partition(".")[0]


def is_time_out(error: BaseException) -> bool:
    """Whether the name of a class of an error says that it is a time-out."""
    names = " ".join([kind.__name__ for kind in type(error).__mro__]).lower().replace("_", "")
    return "timeout" in names or "timedout" in names


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The worst of the verdicts on several errors of one call."""
    outcome = Outcome.worst([verdict.outcome for verdict in verdicts])
    return Verdict(outcome, (outcome, True) in verdicts)
