"""Requests of no library, for tests of what the adapters share; with their ready-made keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from recloser import BreakerOpenError, Registry
from recloser_adapters._outbound.call import OutboundCalls
from recloser_adapters._outbound.keys import Keys
from recloser_adapters._outbound.permit import WatchingPermit
from recloser_adapters._outbound.refusal import ClientBreakerOpenError
from recloser_adapters._outbound.request_reader import RequestReader


@dataclass
class PlainRequest:
    """A request. Its headers have lower-case names."""

    url: str = "http://h/v1/chat/completions"
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


@dataclass
class PlainResponse:
    """A response, or the 503 of a refusal."""

    status: int
    refusal: BreakerOpenError | None = None


class PlainRefusedError(ClientBreakerOpenError, OSError):
    """A refused call."""

    request: PlainRequest


def by_host(request: PlainRequest) -> str:
    return urlsplit(request.url).netloc


def _target(request: PlainRequest) -> str:
    parts = urlsplit(request.url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _tail(request: PlainRequest) -> str:
    return urlsplit(request.url).path.rpartition("/")[2]


def _query(request: PlainRequest) -> str:
    return urlsplit(request.url).query


def _header(request: PlainRequest, name: str) -> str:
    return request.headers.get(name, "")


def _body(request: PlainRequest) -> bytes:
    return request.body


READER: RequestReader[PlainRequest] = RequestReader(by_host, _tail, _query, _target, _header, _body)
KEYS: Keys[PlainRequest] = Keys(__name__, READER)
by_model, by_route, by_credential = KEYS.by_model, KEYS.by_route, KEYS.by_credential


def refusal_error(request: PlainRequest, refusal: BreakerOpenError) -> PlainRefusedError:
    error = PlainRefusedError.of(refusal)
    error.request = request
    return error


def refusal_response(request: PlainRequest, refusal: BreakerOpenError) -> PlainResponse:
    return PlainResponse(503, refusal)


def permit_of(registry: Registry) -> WatchingPermit:
    permit = registry["h"].admit(WatchingPermit)
    assert isinstance(permit, WatchingPermit)
    return permit


def plain_calls(
    registry: Registry | None, *, answers: bool = True, **settings: object
) -> OutboundCalls[PlainRequest, PlainResponse]:
    """The calls of a client; `answers` if its library allows a response to be made."""
    return OutboundCalls(
        registry,
        settings,  # type: ignore[arg-type]
        keys=KEYS,
        refusal_error=refusal_error,
        refusal_response=refusal_response if answers else None,
    )
