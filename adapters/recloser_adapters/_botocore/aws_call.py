"""One attempt of botocore to call an operation of a service, as key functions and others read it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from recloser_adapters._outbound.keys import Keys
from recloser_adapters._outbound.request_reader import RequestReader

# Services whose paths name a model.
_MODELS = ("bedrock", "sagemaker-runtime")
# Hosts of AWS itself end so. There the region tells more than the host, which may name a bucket.
_AWS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".aws.dev")


class AWSCall:
    """A request that is signed, and about to be sent.

    Args:
        request: The request of botocore.
        service: The service, as botocore's events name it.
        operation: The operation.

    Attributes:
        service: The service, such as `s3`, `dynamodb`, `secrets-manager`.
        operation: The operation, such as `GetObject`.
        region: The region of the client; "" if it has none.
        method: The HTTP method.
        url: The URL, which may lack the query.
    """

    def __init__(self, request: Any, service: str, operation: str) -> None:
        self.service: str = service
        self.operation: str = operation
        self.region: str = str(request.context.get("client_region") or "")
        self.method: str = request.method
        self.url: str = request.url
        self._headers = request.headers
        self._data = request.data

    @property
    def place(self) -> str:
        """Where the service is: the region, or the host if it is not one of AWS."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if host.endswith(_AWS):
            return self.region
        return parts.netloc.rpartition("@")[2].lower()

    @property
    def asks_model(self) -> bool:
        """Whether the service is one of models."""
        return self.service.startswith(_MODELS)

    @property
    def headers(self) -> Any:
        """The headers, signed, whose names may be asked for in any case."""
        return self._headers

    @property
    def body(self) -> bytes:
        """The body if it is in memory, else b""."""
        if isinstance(self._data, str):
            return self._data.encode("utf-8", "replace")
        return self._data if isinstance(self._data, bytes) else b""

    def __repr__(self) -> str:
        return f"<AWSCall {self.service}.{self.operation} {self.place}>"


def _operation(call: AWSCall) -> str:
    """Key by service, operation and region: `s3.GetObject eu-west-1`.

    For a service that is not at AWS it is the host: `s3.GetObject localhost:9000`.
    """
    return f"{call.service}.{call.operation} {call.place}".strip()


def service_of(call: AWSCall) -> str:
    """Key by service and region: `s3 eu-west-1`. For services with few calls of many operations."""
    return f"{call.service} {call.place}".strip()


def _path(call: AWSCall) -> str:
    return urlsplit(call.url).path or "/"


def _target(call: AWSCall) -> str:
    # Elsewhere a path is made of names that users choose, and AWS limits accounts rather than paths.
    return _path(call) if call.asks_model else "/"


def _tail(call: AWSCall) -> str:
    return _path(call).rpartition("/")[2]


def _query(call: AWSCall) -> str:
    return urlsplit(call.url).query


def _header(call: AWSCall, name: str) -> str:
    value: object = call.headers.get(name, "")
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _body(call: AWSCall) -> bytes:
    return call.body


def keys_of(module: str) -> Keys[AWSCall]:
    """The ready-made keys, for the adapter of that name."""
    return Keys(module, RequestReader(_operation, _tail, _query, _target, _header, _body))
