"""Calls to the APIs of language models: which route and model, and what explains their latency.

An API is known by the end of its path, because gateways put it under paths of their own:
OpenAI-compatible ones, Anthropic, Gemini, Azure, Bedrock, Cohere and Ollama.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from recloser_adapters._outbound.llm_body import effort_of, fields_of, model_of, most_tokens_of
from recloser_adapters._outbound.usage import size_of

_OPENAI_ROUTES = (
    *("chat/completions", "completions", "responses", "embeddings", "rerank", "moderations"),
    *("audio/speech", "audio/transcriptions", "audio/translations"),
    *("images/generations", "images/edits", "images/variations"),
)
_OPENAI = "|".join(_OPENAI_ROUTES)
# (route of the path, model in the path), and the routes whose name in the API says little.
_PATHS = (
    re.compile(rf"/(?:deployments|engines)/(?P<model>[^/]+)/(?P<route>{_OPENAI})$"),
    re.compile(rf"(?:^|/)(?P<route>{_OPENAI})$"),
    re.compile(r"/v1/(?P<route>messages(?:/count_tokens)?)$"),
    re.compile(r"/(?:models|endpoints)/(?P<model>[^/:]+):(?P<route>[A-Za-z]+)$"),
    re.compile(r"/model/(?P<model>[^/]+)/(?P<route>(?:invoke|converse)[a-z-]*)$"),
    re.compile(r"/v[12]/(?P<route>chat|embed|rerank|generate|classify)$"),
    re.compile(r"/api/(?P<streams>)(?P<route>chat|generate)$"),  # Ollama
    re.compile(r"/api/(?P<route>embed|embeddings)$"),
)
# Further paths, at a host that is known to have the API of a model: elsewhere they may be anything.
_PATHS_AT_MODELS = (
    re.compile(
        r"(?:^|/)(?P<route>messages(?:/count_tokens)?|responses/input_tokens|chat|embed|generate"
        r"|classify|complete|tokenize|detokenize|ocr)$"
    ),
)
_CLASSES = {
    "chat/completions": "chat",
    "messages": "chat",
    "messages/count_tokens": "count_tokens",
    "responses/input_tokens": "count_tokens",
    "complete": "completions",
    "generate": "completions",
    "embed": "embeddings",
    "generateContent": "chat",
    "streamGenerateContent": "chat",
    "embedContent": "embeddings",
    "batchEmbedContents": "embeddings",
    "countTokens": "count_tokens",
    "rawPredict": "chat",
    "streamRawPredict": "chat",
}
# The last segments of these paths, to tell all other requests from calls to models at once. The others
# of them have a colon.
TAILS = frozenset(
    {
        *("completions", "responses", "embeddings", "rerank", "moderations", "speech"),
        *("transcriptions", "translations", "generations", "edits", "variations", "messages"),
        *("count_tokens", "chat", "embed", "generate", "classify", "invoke", "converse"),
        *("invoke-with-response-stream", "converse-stream"),
    }
)
ANSWERED: frozenset[str] = frozenset(
    {*_OPENAI_ROUTES, *_CLASSES.values(), "predict", "classify", "tokenize", "detokenize", "ocr"}
)
"""The classes of the routes on which a model answers. Others may start something."""
_LONGEST_PATH = 500
_KEPT_PATHS = 256  # paths of which the route is remembered
# Printable and without spaces: it becomes a part of a key. Models of Bedrock have long names.
_MODEL = re.compile(r"[!-~]{1,128}")


class Route(NamedTuple):
    """What the path of a request tells.

    Attributes:
        name: The class of the route: `chat`, `embeddings`, `audio/speech` ...
        model: The model or deployment; "" if the path does not name it.
        streams: Whether the answer is a stream if the body does not say so.
    """

    name: str
    model: str
    streams: bool


class LLMCall(NamedTuple):
    """One call to a model, as all adapters see it.

    Attributes:
        route: The class of the route.
        model: The model or deployment; "" if it is unknown.
        label: What explains its latency beside its size: the route, whether it streams, the effort,
            and the most tokens that the answer may have unless it streams.
        request_bytes: The bytes of its body; 0 if they are unknown.
    """

    route: str
    model: str
    label: str
    request_bytes: int

    @property
    def name(self) -> str:
        """The model, or the class of the route if the model is unknown."""
        return self.model or self.route

    @property
    def size(self) -> float | None:
        """Its size before it is answered; None if that is unknown. See `usage.size_of`."""
        return size_of(self.request_bytes) if self.request_bytes else None


_routes: dict[tuple[str, bool], Route | None] = {}


def route_of(path: str, *, at_model: bool = False) -> Route | None:
    """The route of a path; None if it is not that of a known API.

    Args:
        path: The path as it is sent, without the query.
        at_model: Whether the host is known to have the API of a model. Then the path may be
            the part after the base URL.
    """
    try:
        return _routes[path, at_model]
    except KeyError:
        pass
    route = _find(path, at_model) if len(path) <= _LONGEST_PATH else None
    if len(_routes) >= _KEPT_PATHS:
        _routes.clear()
    _routes[path, at_model] = route
    return route


def _find(path: str, at_model: bool) -> Route | None:
    for pattern in (*_PATHS, *_PATHS_AT_MODELS) if at_model else _PATHS:
        if (found := pattern.search(path)) is None:
            continue
        parts = found.groupdict()
        route: str = parts["route"]
        streams = "streams" in parts or route.startswith("stream") or route.endswith("stream")
        name = _CLASSES.get(route, route)
        if name.startswith(("invoke", "converse")):
            name = "chat"
        return Route(name, _model(unquote(parts.get("model") or "")), streams)
    return None


def llm_call(route: Route, body: bytes, document: Mapping[str, Any] | None = None) -> LLMCall:
    """What is known of a call to a model.

    Args:
        route: The route of its path.
        body: Its body if it is in memory, else b"".
        document: The body as JSON, if it is parsed already.
    """
    fields = fields_of(body, document)
    words = [] if route.name == "chat" else [route.name]
    if fields.get("stream", route.streams) is True:
        # Its latency is that of its first piece: how long the answer may become is no matter.
        words.append("stream")
        tokens = 0
    else:
        tokens = most_tokens_of(fields)
    words += filter(None, (effort_of(fields), f"{tokens} tokens" if tokens else ""))
    model = route.model or _model(model_of(body, fields))
    label = " ".join(words) or route.name
    return LLMCall(route.name, model, label, len(body))


def _model(name: object) -> str:
    return name if isinstance(name, str) and _MODEL.fullmatch(name) else ""
