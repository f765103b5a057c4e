"""Ready-made keys: by model (the default), by route, by credential.

A key of theirs is the host, and one part of the request after a space. Which parts there are may be
decided by whoever sends requests through us: a model's name from a form, any path. So each host has
a bounded number of parts in a registry; calls with further ones have the key of the host.
"""

from __future__ import annotations

import re
from typing import Generic, TypeVar

from recloser_adapters._outbound.credential import credential_of
from recloser_adapters._outbound.llm import LLMCall, llm_call, route_of
from recloser_adapters._outbound.request_reader import RequestReader

RequestT = TypeVar("RequestT")

# Segments that are part of a route: short words. Anything else may be an id or a secret.
_WORD = re.compile(r"[a-z][a-z_.-]{0,23}")
# Segments that say only where an API begins.
_PREFIX = re.compile(r"v[0-9]{1,2}[a-z0-9]{0,6}|api|rest|rpc")
_MOST_PREFIXES = 3


def path_class(path: str) -> str:
    """The beginning of a path, up to its first segment that says more than where an API begins.

    It is `/v1/charges` for `/v1/charges/ch_123/refunds`. A segment that is no word is `*`, because
    it may be an id or a secret.

    Args:
        path: The path as it is sent, without the query. "" or "/" has no class.
    """
    said = ""
    for segment in path[:200].strip("/").split("/")[: _MOST_PREFIXES + 1]:
        if _PREFIX.fullmatch(segment):
            said += f"/{segment}"
            continue
        return f"{said}/{segment if _WORD.fullmatch(segment) else '*'}" if segment else said
    return said


class ReadyKey(Generic[RequestT]):
    """A ready-made key function. Given as `key=`, the number of its keys is bounded.

    Args:
        keys: Reads the requests.
        name: Its name in the adapter.
        part: Returns the part of a request that its key has beside the host; "" for none.
        doc: What it does.
    """

    def __init__(self, keys: Keys[RequestT], name: str, part: str, doc: str) -> None:
        self._keys = keys
        self._part = part
        self.__name__ = name
        self.__qualname__ = name
        self.__module__ = keys.module
        self.__doc__ = doc

    def part(self, request: RequestT) -> str:
        """The part of the key beside the host; "" if the key is the host."""
        part: str = getattr(self._keys, self._part)(request)
        return part

    def __call__(self, request: RequestT) -> str:
        host, part = self._keys.read.host(request), self.part(request)
        return f"{host} {part}" if part else host

    def __repr__(self) -> str:
        return f"<key function {self.__name__}>"

    def __reduce__(self) -> str:
        # By name, in the adapter: a copy is the same object.
        return self.__name__


class Keys(Generic[RequestT]):
    """The ready-made keys of one client library.

    Args:
        module: The name of the adapter, where the key functions are.
        read: Reads its requests.
    """

    def __init__(self, module: str, read: RequestReader[RequestT]) -> None:
        self.module: str = module
        self.read: RequestReader[RequestT] = read
        self.by_model: ReadyKey[RequestT] = ReadyKey(self, "by_model", "model", _BY_MODEL)
        self.by_route: ReadyKey[RequestT] = ReadyKey(self, "by_route", "route", _BY_ROUTE)
        self.by_credential: ReadyKey[RequestT] = ReadyKey(
            self, "by_credential", "credential", _BY_CREDENTIAL
        )

    def llm_call(self, request: RequestT) -> LLMCall | None:
        """What is known of a call to a model; None if its path is that of no known API."""
        route = route_of(self.read.target(request).partition("?")[0])
        return None if route is None else llm_call(route, self.read.body(request))

    def model(self, request: RequestT) -> str:
        """The model of a call to a known API, else its route; "" for any other request."""
        call = self.llm_call(request)
        return "" if call is None else call.name

    def route(self, request: RequestT) -> str:
        """The class of the route of a call to a known API, else the beginning of the path."""
        path = self.read.target(request).partition("?")[0]
        route = route_of(path)
        return path_class(path) if route is None else route.name

    def credential(self, request: RequestT) -> str:
        """The hash of the credential, in words; "" if there is none."""
        read = self.read
        hashed = credential_of(lambda name: read.header(request, name), read.target(request))
        return f"(credential {hashed})" if hashed else ""


_BY_MODEL = """Key by host and model, where a model is asked by a known API; else by host.

`api.openai.com gpt-4o`, or the deployment (Azure), or the class of the route if the model is
unknown: `api.openai.com embeddings`. It is the default."""
_BY_ROUTE = """Key by host and the beginning of the path: `api.stripe.com /v1/charges`.

For known APIs of models it is the class of the route: `api.openai.com chat`."""
_BY_CREDENTIAL = """Key by host and a hash of the credential: `api.x.com (credential 3f9a1c02)`.

The hash is salted per process. The credential is an API key or a token in a header or the query."""
