"""The addresses of the providers of a failover, and the requests that are sent to them.

Requests and URLs are those of httpx or httpx2. Both libraries have the same API.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from recloser import Attempt, Failover
from recloser_adapters._httpx.library import Library

ANY_PROVIDER = "http://failover"
"""A base URL for clients of a failover transport: any provider may serve requests to it."""
REPEATABLE = "recloser.repeatable"
"""Key in the extensions of a request: True if the request may be sent twice, else False."""

# RFC 9110 section 9.2.2.
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
# A second request to a model costs money, but it has no other effect.
_GENERATION = (
    b"/chat/completions",
    b"/completions",
    b"/responses",
    b"/messages",
    b"/embeddings",
    b"/moderations",
)
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


@dataclass(frozen=True, slots=True)
class LLMEndpoint:
    """An OpenAI-compatible provider: its base URL, your API key and its model names.

    Credentials that the request itself carries (keys, cookies, organization) are removed, because
    they belong to another provider.

    Args:
        base_url: The URL before the paths of the API: `https://api.groq.com/openai/v1`.
        api_key: The API key; `repr()` does not show it.
        key_header: The header that carries the key. In `Authorization` the key is sent as a bearer
            token.
        models: Maps the caller's model names to this provider's names. A name that is not in the
            mapping is sent unchanged.
    """

    base_url: str
    api_key: str = field(repr=False)
    key_header: str = "Authorization"
    models: Mapping[str, str] = field(default_factory=dict[str, str])

    def credential(self) -> str:
        """The value of the header that carries the key."""
        bearer = self.key_header.lower() == "authorization"
        return f"Bearer {self.api_key}" if bearer else self.api_key


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


@dataclass(frozen=True, slots=True)
class Plan:
    """Facts about a request that do not depend on the provider it is sent to."""

    request: Any
    tail: bytes
    repeatable: bool
    timeouts: Mapping[str, float | None]


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
        if repeatable is not None and not callable(repeatable):
            raise TypeError(f"repeatable must be a callable, not {type(repeatable).__name__}")
        self._registry = failover.registry
        self._repeatable = repeatable
        self._library = library
        self._addresses = {
            each.key: self._address(each.key, each.target) for each in failover.providers
        }
        self._any = self._address("any provider", ANY_PROVIDER)
        self._urls: dict[tuple[str, bytes], Any] = {}
        self._only_models = all(each.endpoint for each in self._addresses.values())

    def _address(self, key: str, target: object) -> Address:
        endpoint = target if isinstance(target, LLMEndpoint) else None
        base = endpoint.base_url if endpoint is not None else target
        if not isinstance(base, str):
            raise TypeError(f"target of {key!r} must be a base URL or an LLMEndpoint, not {base!r}")
        url = self._library.url(base)
        if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
            raise ValueError(f"base URL of {key!r} must be like https://host/path, not {base!r}")
        return Address(key, url, bytes(url.raw_path).rstrip(b"/"), endpoint)

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
        repeatable = fixed and self._by_default(request) if declared is None else declared
        return Plan(request, tail, repeatable, request.extensions.get("timeout", {}))

    def _declared(self, request: Any) -> bool | None:
        said = request.extensions.get(REPEATABLE)
        if said is None and self._repeatable is not None:
            try:
                said = self._repeatable(request)
            except Exception as fault:
                self._registry.fault("repeatable", fault)
                return False
        return None if said is None else bool(said)

    def _by_default(self, request: Any) -> bool:
        if request.method in _IDEMPOTENT or "idempotency-key" in request.headers:
            return True
        path: bytes = request.url.raw_path.partition(b"?")[0]
        return self._only_models and request.method == "POST" and path.endswith(_GENERATION)

    def addressed(self, plan: Plan, attempt: Attempt[Any]) -> Any:
        """Make the request to send to the provider of an attempt."""
        request = plan.request
        address = self._addresses[attempt.key]
        url = self._url(address, plan.tail)
        headers = request.headers.copy()
        headers["Host"] = url.netloc.decode("ascii")
        content: dict[str, Any] = {"stream": request.stream}
        if (endpoint := address.endpoint) is not None:
            for name in _CREDENTIALS & set(headers):
                del headers[name]
            headers[endpoint.key_header] = endpoint.credential()
            body = self._renamed(request, endpoint.models)
            if body is not None:
                del headers["Content-Length"]
                content = {"content": body}
        limits: dict[str, float | None] = {"connect": attempt.connect_timeout}
        limits |= {"pool": attempt.connect_timeout}
        limits |= {"read": attempt.timeout, "write": attempt.timeout}
        for phase, own in plan.timeouts.items():
            limit = limits.get(phase)
            limits[phase] = own if limit is None else limit if own is None else min(own, limit)
        extensions = {**request.extensions, "timeout": limits}
        return self._library.request(
            request.method, url, headers=headers, extensions=extensions, **content
        )

    def _url(self, address: Address, tail: bytes) -> Any:
        # Making a URL costs as much as the rest of this method, and most clients use few URLs.
        url = self._urls.get((address.key, tail))
        if url is None:
            if len(self._urls) >= _URLS:
                self._urls.clear()
            url = address.url.copy_with(raw_path=(address.path + tail) or b"/")
            self._urls[address.key, tail] = url
        return url

    def _renamed(self, request: Any, models: Mapping[str, str]) -> bytes | None:
        """The body with the provider's own model name; None if the body needs no change."""
        if not models or not isinstance(request.stream, self._library.fixed_body):
            return None
        try:
            document = json.loads(request.read())
            name = models.get(document["model"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        return None if name is None else json.dumps({**document, "model": name}).encode()
