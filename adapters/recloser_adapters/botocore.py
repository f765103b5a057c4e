"""Breakers for boto3, botocore and aiobotocore.

    s3 = wrap_client(boto3.client("s3"), registry)

guards every call of a client, `wrap_session` all clients that a session will make. A call is one
attempt: each retry of botocore asks the breaker again, and counts. The sleep between two attempts
belongs to none of them. The key is the operation in its region: `s3.GetObject eu-west-1`.

A call ends with its answer, or with its `Body` and event stream if it has one: then its latency is
the time to the headers (of a model's stream the time to the first piece). 5xx and errors on the wire
are failures. The codes by which AWS throttles (`SlowDown`, `ThrottlingException` ...) ask for a pause,
whatever their status; it is obeyed once all callers are asked to wait. Other 4xx have no vote.

A refusal is raised as a request is made, before anything is sent. botocore does not retry it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypedDict, TypeVar, Unpack, cast

from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    ProxyConnectionError,
)

from recloser import BreakerOpenError, Outcome, Registry
from recloser_adapters._botocore.aws_call import AWSCall, keys_of, service_of
from recloser_adapters._botocore.aws_calls import AWSCalls
from recloser_adapters._outbound.keys import ReadyKey
from recloser_adapters._outbound.permit import CallReport
from recloser_adapters._outbound.refusal import ClientBreakerOpenError
from recloser_adapters._outbound.settings import CallSettings, Raise, check_names

__all__ = [
    "AWSCall",
    "AWSSettings",
    "BreakerOpenEndpointError",
    "CallReport",
    "by_credential",
    "by_model",
    "by_operation",
    "by_service",
    "nothing_sent",
    "wrap_client",
    "wrap_session",
]

ClientT = TypeVar("ClientT")
SessionT = TypeVar("SessionT")

_KEYS = keys_of(__name__)
by_operation: Callable[[AWSCall], str] = _KEYS.read.host
by_service: Callable[[AWSCall], str] = service_of
by_model: ReadyKey[AWSCall] = _KEYS.by_model
by_credential: ReadyKey[AWSCall] = _KEYS.by_credential


class AWSSettings(TypedDict, total=False):
    """The settings of a guarded client, as keyword arguments. Each of them is optional.

    Attributes:
        key: One key for all calls, or a callable that makes the key from an `AWSCall`: `by_model`
            (the default: by operation, and by model in Bedrock), `by_operation`, `by_service`,
            `by_credential`, or your own. If the callable returns None, the call is unguarded. If it
            raises, or returns an empty str or another type, that is a fault, and the call is keyed
            by operation.
        label_by: What explains the latency of a call: a callable that returns a label, a size or
            None. By default that is known for calls to models in Bedrock, and for the operations that
            wait for a message. If the callable raises, that is a fault, and nothing is known.
        classify: Overrules the outcome of an answer (the parsed `dict`), or of an error (a
            `ClientError` for an answer that is one). It returns an `Outcome`, or None to keep the
            usual one. If it raises, or returns another type, that is a fault.
        on_end: Called with a `CallReport` after the end of each attempt, on the thread that ended it.
            An error that it raises is a fault.
    """

    key: str | Callable[[AWSCall], str | None]
    label_by: Callable[[AWSCall], str | float | None] | None
    classify: Callable[[Mapping[str, Any] | BaseException], Outcome | None] | None
    on_end: Callable[[CallReport], None] | None


class _UnreachableError(EndpointConnectionError):
    """An `EndpointConnectionError` that takes its message."""

    def __init__(self, message: str) -> None:
        super().__init__(endpoint_url="", error=Exception(message))


class BreakerOpenEndpointError(ClientBreakerOpenError, _UnreachableError):
    """The breaker refused the call; nothing was sent.

    It is an `EndpointConnectionError`, and so a `BotoCoreError`: what code handles that handles an
    endpoint that cannot be reached. It is no `ClientError`: that is an answer of AWS, and much code
    takes each of them to mean that an object does not exist.
    """


def nothing_sent(error: BaseException) -> bool:
    """Whether an error proves that nothing was sent. For `Failover(nothing_sent=...)`.

    The error of a call that botocore has retried is that of its last attempt. So do not let it retry
    what must not be sent twice: `Config(retries={"total_max_attempts": 1})`.
    """
    kinds = (BreakerOpenError, EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)
    return isinstance(error, kinds)


def _refusal_error(call: AWSCall, refusal: BreakerOpenError) -> BreakerOpenEndpointError:
    error = BreakerOpenEndpointError.of(refusal)
    error.kwargs = {"endpoint_url": call.url, "error": refusal}
    return error


def _calls(registry: Registry | None, settings: AWSSettings) -> AWSCalls:
    check_names(settings, AWSSettings.__optional_keys__)
    return AWSCalls(
        registry,
        cast("CallSettings[AWSCall, Mapping[str, Any], Raise]", settings),
        keys=_KEYS,
        refusal_error=_refusal_error,
        refusal_response=None,
    )


def wrap_client(
    client: ClientT, registry: Registry | None = None, **settings: Unpack[AWSSettings]
) -> ClientT:
    """Guard every call of a client.

    Args:
        client: A client of boto3, botocore or aiobotocore; of a boto3 resource it is
            `resource.meta.client`. A client that is guarded already stays unchanged.
        registry: Holds the breakers; by default a new one.
        **settings: `key`, `label_by`, `classify` and `on_end`: see `AWSSettings`.

    Returns:
        The same client.

    Raises:
        TypeError: A setting has the wrong type or does not exist, or `client` is no client.
        ValueError: The key is empty.
    """
    calls = _calls(registry, settings)
    events: Any = getattr(getattr(client, "meta", None), "events", None)
    if not hasattr(events, "register_last"):
        hint = ": write resource.meta.client" if hasattr(client, "meta") else ""
        raise TypeError(f"client must be a client of boto3 or aiobotocore, not {client!r}{hint}")
    calls.listen(events)
    return client


def wrap_session(
    session: SessionT, registry: Registry | None = None, **settings: Unpack[AWSSettings]
) -> SessionT:
    """Guard the clients and resources that a session will make. Those that it has made are not.

    Args:
        session: A `boto3.Session`, or a session of botocore or aiobotocore.
        registry: Holds the breakers; by default a new one.
        **settings: Those of `wrap_client`.

    Returns:
        The same session.

    Raises:
        TypeError: A setting has the wrong type or does not exist, or `session` is no session.
        ValueError: The key is empty.
    """
    calls = _calls(registry, settings)
    component: Any = getattr(session, "get_component", None)
    events: Any = getattr(session, "events", None)
    if events is None and component is not None:
        events = component("event_emitter")
    if not hasattr(events, "register_last"):
        raise TypeError(f"session must be a session of boto3 or botocore, not {session!r}")
    calls.listen(events)
    return session
