"""The addresses of the providers of a failover, and the requests that are sent to them.

Requests and URLs are those of httpx or httpx2. Both libraries have the same API.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any
from urllib.parse import unquote_to_bytes

from recloser import Attempt, CallOptions, Failover
from recloser.hints import check_function
from recloser_adapters._httpx.library import Library
from recloser_adapters._httpx.llm_requests import (
    UNREAD,
    LLMRequest,
    Reach,
    read_request,
    renamed_body,
    renamed_path,
)
from recloser_adapters._httpx.made import Made

ANY_PROVIDER = "http://failover"
"""A base URL for clients of a failover transport: any provider may serve requests to it."""
REPEATABLE = "recloser.repeatable"
"""Key in the extensions of a request: True if the request may be sent twice, else False."""

# RFC 9110 section 9.2.2.
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_URLS = 256  # URLs kept at most; paths with ids must not fill the memory
# Headers that identify the account at one provider. No other provider may receive them.
_CREDENTIALS = frozenset(
    {
        "authorization",
        "api-key",
        "x-api-key",
        "x-goog-api-key",
        "cookie",
        "openai-organization",
        "openai-project",
    }
)


# The same in a query: Gemini takes a key there.
_IN_QUERY = frozenset(
    {b"key", b"api_key", b"apikey", b"api-key", b"access_token", b"token", b"subscription-key"}
)
# A form with files is read into memory, so that it can be sent again, if it is no longer than that.
_LONGEST_FORM = 32 * 1024 * 1024  # bytes; the SDKs read the files into memory as well


@dataclass(frozen=True, slots=True)
class LLMEndpoint:
    """A provider of language models: its base URL, your API key and its model names.

    Credentials that the request itself carries (keys, cookies, organization, `?key=`) are removed,
    because they belong to another provider.

    Args:
        base_url: The URL before the paths of the API: `https://api.groq.com/openai/v1`.
        api_key: The API key; `repr()` does not show it. If it is renewed from time to time (Entra,
            Google), a function that returns it: it is called for each attempt, so it must keep the
            key while it is valid. For async clients it may return an awaitable. If it raises, the
            next provider is asked, and this one is put last for a while.
        key_header: The header that carries the key. In `Authorization` the key is sent as a bearer
            token.
        models: Maps the caller's model names to this provider's names, in bodies and in URLs
            (deployments of Azure, models of Gemini). A name that is not in the mapping is sent
            unchanged.

    Raises:
        TypeError: `api_key` is neither a str nor a function.
    """

    base_url: str
    api_key: str | Callable[[], str | Awaitable[str]] = field(repr=False)
    key_header: str = "Authorization"
    models: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if not isinstance(self.api_key, str) and not callable(self.api_key):
            raise TypeError(
                f"api_key must be a str or a function, not {type(self.api_key).__name__}"
            )

    def credential(self, api_key: str) -> str:
        """The value of the header that carries the key."""
        return f"Bearer {api_key}" if self.key_header.lower() == "authorization" else api_key


@dataclass(frozen=True, slots=True)
class Address:
    """A provider's base URL, parsed."""

    key: str
    url: Any
    path: bytes
    endpoint: LLMEndpoint | None

    def tail_of(self, url: Any) -> bytes | None:
        """The part of `url` after the base URL; None if `url` does not begin with the base URL."""
        here = self.url
        if (url.scheme, url.host, url.port) != (here.scheme, here.host, here.port):
            return None
        raw = bytes(url.raw_path)
        tail = raw[len(self.path) :]
        return tail if raw.startswith(self.path) and tail[:1] in (b"/", b"?", b"") else None


@dataclass(slots=True)
class Plan:
    """Facts about a request that do not depend on the provider it is sent to.

    Attributes:
        request: The request of the caller.
        tail: The part of its URL after the base URL, as it is sent.
        call: What is known of the call, for `Failover.attempts`.
        timeouts: The client's own time-outs.
        content: The body, if it can be sent again; else None.
        llm: What is known of the request, if all providers are an `LLMEndpoint`; else None.
        movable: Whether it goes on to another provider if one rejects its credentials or the model.
            It does unless the user forbids it, its body is used up, or only one provider knows what
            it names.
    """

    request: Any
    tail: bytes
    call: CallOptions
    timeouts: Mapping[str, float | None]
    content: bytes | None
    llm: LLMRequest | None
    movable: bool = False

    @property
    def request_bytes(self) -> int:
        """The bytes of a request that a model answers; 0 if there is none."""
        return 0 if self.llm is None or self.llm.call is None else self.llm.call.request_bytes

    @property
    def repeatable(self) -> bool:
        """Whether the request may be sent twice."""
        return self.call.get("repeatable", False)


class Planner:
    """Recognises requests that are for a provider, and makes the requests that are sent.

    Args:
        failover: The providers.
        repeatable: Returns whether a request may be sent twice, or None for the default rule.
        library: The classes of the library.

    Raises:
        TypeError: `repeatable` cannot be called, or a target is neither a base URL nor an
            `LLMEndpoint`.
        ValueError: A base URL is not valid.
    """

    def __init__(
        self,
        failover: Failover[Any],
        repeatable: Callable[[Any], bool | None] | None,
        library: Library,
    ) -> None:
        if isinstance(repeatable, bool):
            raise TypeError(
                f"repeatable must be a function of a request, not {repeatable!r}: write "
                f"repeatable=lambda request: {repeatable!r}"
            )
        if repeatable is not None:
            check_function("repeatable", repeatable)
        self._registry = failover.registry
        self._repeatable = repeatable
        self._library = library
        self._addresses = {
            each.key: self._address(each.key, each.target) for each in failover.providers
        }
        self._any = self._address("any provider", ANY_PROVIDER)
        self._urls: dict[tuple[str, bytes], Any] = {}
        self._only_models = all(each.endpoint for each in self._addresses.values())
        self._first = failover.providers[0].key
        self.made: Made = Made()

    def _address(self, key: str, target: object) -> Address:
        endpoint = target if isinstance(target, LLMEndpoint) else None
        base = endpoint.base_url if endpoint is not None else target
        if not isinstance(base, str):
            raise TypeError(
                f"target of {key!r} must be a base URL or an LLMEndpoint, not {base!r}: write "
                f"Provider({key!r}, 'https://...')"
            )
        url = self._library.url(base)
        if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
            raise ValueError(f"base URL of {key!r} must be like https://host/path, not {base!r}")
        return Address(key, url, bytes(url.raw_path).rstrip(b"/"), endpoint)

    def is_read_first(self, request: Any) -> bool:
        """Whether to read the body before the request is planned, so that it can be sent again.

        These are forms with files for a model, such as audio. The SDKs send them from memory.
        """
        if not self._only_models or isinstance(request.stream, self._library.fixed_body):
            return False
        headers = request.headers
        length = headers.get("content-length", "")
        return (
            headers.get("content-type", "").startswith("multipart/form-data")
            and length.isdecimal()
            and int(length) <= _LONGEST_FORM
            and read_request(request.method, request.url.raw_path, None).generates
        )

    def plan(self, request: Any) -> Plan | None:
        """Make the plan of a request; None if the request is not for any of the providers.

        Raises:
            ValueError: The request was declared repeatable, but its body can be sent only once.
        """
        url = request.url
        tails = (each.tail_of(url) for each in (self._any, *self._addresses.values()))
        tail = min((tail for tail in tails if tail is not None), key=len, default=None)
        if tail is None:
            return None
        fixed = isinstance(request.stream, self._library.fixed_body)
        declared = self._declared(request)
        if declared and not fixed:
            raise ValueError(
                f"the body of {request.method} {url} can be sent only once, and the request was "
                "declared repeatable: give it as bytes, or call request.read() first"
            )
        timeouts = request.extensions.get("timeout", {})
        content = request.read() if fixed else None
        if not self._only_models:
            repeatable = fixed and request.method in _IDEMPOTENT if declared is None else declared
            return Plan(request, tail, {"repeatable": repeatable}, timeouts, content, None)
        llm = self._read(request.method, tail, content)
        call: CallOptions = {"model": llm.model}
        if llm.call is not None:
            call |= {"label": llm.call.label, "size": llm.call.size}
        call["repeatable"] = fixed and llm.reach is Reach.ANYONE if declared is None else declared
        if llm.reach is Reach.MAKER and declared is None:
            call["only"] = self.made.maker(tail, content) or self._first
        movable = fixed and declared is not False and call.get("only") is None
        return Plan(request, tail, call, timeouts, content, llm, movable)

    def _read(self, method: str, tail: bytes, content: bytes | None) -> LLMRequest:
        """Read a request; one that cannot be read is sent once."""
        try:
            return read_request(method, tail, content)
        except Exception as fault:
            self._registry.fault("reading a request", fault)
            return UNREAD

    def _declared(self, request: Any) -> bool | None:
        said = request.extensions.get(REPEATABLE)
        if said is None and self._repeatable is not None:
            try:
                said = self._repeatable(request)
            except Exception as fault:
                self._registry.fault("repeatable", fault)
                return False
        return None if said is None else bool(said)

    def model_name(self, llm: LLMRequest, key: str) -> str | None:
        """The name of the model, as a provider is asked for it; None if the request names none."""
        endpoint, name = self._addresses[key].endpoint, llm.model
        return name if endpoint is None or name is None else endpoint.models.get(name, name)

    def key_of(self, attempt: Attempt[Any]) -> str | Awaitable[str] | None:
        """The API key for an attempt, or an awaitable of it; None if the target has none.

        Raises:
            Exception: What the user's function raised.
        """
        endpoint = self._addresses[attempt.key].endpoint
        if endpoint is None:
            return None
        return endpoint.api_key if isinstance(endpoint.api_key, str) else endpoint.api_key()

    def addressed(self, plan: Plan, attempt: Attempt[Any], api_key: str | None) -> Any:
        """Make the request to send to the provider of an attempt.

        Raises:
            TypeError: The key is no str.
        """
        request = plan.request
        address = self._addresses[attempt.key]
        endpoint = address.endpoint
        url = self._url(address, plan.tail, endpoint)
        headers = request.headers.copy()
        headers["Host"] = url.netloc.decode("ascii")
        content: dict[str, Any] = {"stream": request.stream}
        if plan.content and "Content-Length" in headers:
            content = {"content": plan.content}  # a breaker of the wrapped transport reads it
        if endpoint is not None:
            if not isinstance(api_key, str) or not api_key:
                raise TypeError(
                    f"api_key of {attempt.key!r} must return a non-empty str, not "
                    f"{type(api_key).__name__}"
                )
            for name in _CREDENTIALS & set(headers):
                del headers[name]
            headers[endpoint.key_header] = endpoint.credential(api_key)
            body = None
            if plan.llm is not None:
                body = renamed_body(plan.llm, plan.content, endpoint.models)
            if body is not None:
                del headers["Content-Length"]
                content = {"content": body}
        extensions = {**request.extensions, "timeout": self._limits(plan, attempt)}
        return self._library.request(
            request.method, url, headers=headers, extensions=extensions, **content
        )

    def _limits(self, plan: Plan, attempt: Attempt[Any]) -> dict[str, float | None]:
        """The time-outs of an attempt: those of the client, lowered to those of the attempt."""
        connect = attempt.connect_limit
        # An attempt that is cancelled at its limit may get more time if no provider is healthy then.
        answer = inf if attempt.is_timed else attempt.limit
        limits: dict[str, float | None] = dict(plan.timeouts)
        for phase, limit in (
            ("connect", connect),
            ("pool", connect),
            ("read", answer),
            ("write", answer),
        ):
            if limit < inf:
                own = limits.get(phase)
                limits[phase] = limit if own is None else min(own, limit)
        return limits

    def _url(self, address: Address, tail: bytes, endpoint: LLMEndpoint | None) -> Any:
        # Making a URL costs as much as the rest of this method, and most clients use few URLs.
        url = self._urls.get((address.key, tail))
        if url is None:
            if len(self._urls) >= _URLS:
                self._urls.clear()
            own = tail if endpoint is None else _without_keys(renamed_path(tail, endpoint.models))
            url = address.url.copy_with(raw_path=(address.path + own) or b"/")
            self._urls[address.key, tail] = url
        return url


def _without_keys(tail: bytes) -> bytes:
    """A path and a query without the credentials in the query."""
    path, mark, query = tail.partition(b"?")
    if not mark:
        return tail
    kept = [
        part
        for part in query.split(b"&")
        if unquote_to_bytes(part.partition(b"=")[0]).lower() not in _IN_QUERY
    ]
    return path + b"?" + b"&".join(kept) if kept else path
