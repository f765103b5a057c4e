"""Calls to the APIs of language models: which route and model, and what explains their latency.

An API is known by the end of its path, because gateways put it under paths of their own:
OpenAI-compatible ones, Anthropic, Gemini, Azure, Bedrock, Cohere and Ollama.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import sqrt
from typing import Any, NamedTuple, cast
from urllib.parse import unquote

_OPENAI = (
    r"chat/completions|completions|responses|embeddings|rerank|moderations"
    r"|audio/(?:speech|transcriptions|translations)|images/(?:generations|edits|variations)"
)
# (route of the path, model in the path), and the routes whose name in the API says little.
_PATHS = (
    re.compile(rf"/openai/deployments/(?P<model>[^/]+)/(?P<route>{_OPENAI})$"),
    re.compile(rf"(?:^|/)(?P<route>{_OPENAI})$"),
    re.compile(r"/v1/(?P<route>messages(?:/count_tokens)?)$"),
    re.compile(r"/(?:models|endpoints)/(?P<model>[^/:]+):(?P<route>[A-Za-z]+)$"),
    re.compile(r"/model/(?P<model>[^/]+)/(?P<route>(?:invoke|converse)[a-z-]*)$"),
    re.compile(r"/v[12]/(?P<route>chat|embed|rerank|generate|classify)$"),
    re.compile(r"/api/(?P<route>chat|generate|embed|embeddings)$"),
)
_CLASSES = {
    "chat/completions": "chat",
    "messages": "chat",
    "messages/count_tokens": "count_tokens",
    "generate": "completions",
    "embed": "embeddings",
    "generateContent": "chat",
    "streamGenerateContent": "chat",
    "embedContent": "embeddings",
    "batchEmbedContents": "embeddings",
    "countTokens": "count_tokens",
    "predict": "predict",
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
_LONGEST_PATH = 500
_KEPT_PATHS = 256  # paths of which the route is remembered
# Printable and without spaces: it becomes a part of a key. Models of Bedrock have long names.
_MODEL = re.compile(r"[!-~]{1,128}")
_EFFORT = re.compile(r"[a-z]{1,16}")
# Bytes of a body that are parsed in whole, which takes 0.3 ms at most. Of a longer one, only its
# beginning and its end are searched: a long text is in the middle.
_WHOLE, _EDGE = 65_536, 4_096
_FIELDS = rb"model|stream|max_tokens|max_completion_tokens|max_output_tokens|reasoning_effort"
_SCALAR = rb'"(?:[^"\\]|\\.){0,128}"|true|false|[0-9]{1,12}'
_MEMBER = re.compile(rb'[{,]\s*"(' + _FIELDS + rb')"\s*:\s*(' + _SCALAR + rb")(?=\s*[,}])")
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\]]', re.DOTALL)
_MOST_MEMBERS = 12  # of a long body, from each edge; an honest one has half a dozen
# An answer of so few tokens does not take much longer than its first one.
_SHORT = 128


class Route(NamedTuple):
    """What the path of a request tells.

    Attributes:
        name: The class of the route: `chat`, `embeddings`, `audio/speech` ...
        model: The model or deployment; "" if the path does not name it.
        stream: Whether the answer is a stream, as far as the path tells.
    """

    name: str
    model: str
    stream: bool


class LLMCall(NamedTuple):
    """One call to a model.

    Attributes:
        route: The class of the route.
        model: The model or deployment; "" if it is unknown.
        label: What explains its latency beside its size; "" for an usual chat.
        size: The square root of the bytes of the request, so that sizes within a factor of four are
            alike; None if they are unknown.
    """

    route: str
    model: str
    label: str
    size: float | None

    @property
    def name(self) -> str:
        """The model, or the class of the route if the model is unknown."""
        return self.model or self.route


_routes: dict[str, Route | None] = {}


def route_of(path: str) -> Route | None:
    """The route of a path; None if it is not that of a known API.

    Args:
        path: The path as it is sent, without the query.
    """
    try:
        return _routes[path]
    except KeyError:
        pass
    route = _find(path) if len(path) <= _LONGEST_PATH else None
    if len(_routes) >= _KEPT_PATHS:
        _routes.clear()
    _routes[path] = route
    return route


def _find(path: str) -> Route | None:
    for pattern in _PATHS:
        if (found := pattern.search(path)) is None:
            continue
        parts = found.groupdict()
        route: str = parts["route"]
        stream = route.startswith("stream") or route.endswith("stream")
        name = _CLASSES.get(route, route)
        if name.startswith(("invoke", "converse")):
            name = "chat"
        return Route(name, _model(unquote(parts.get("model") or "")), stream)
    return None


def llm_call(route: Route, body: bytes) -> LLMCall:
    """What is known of a call to a model.

    Args:
        route: The route of its path.
        body: Its body if it is in memory, else b"".
    """
    fields = top_level(body)
    words = [] if route.name == "chat" else [route.name]
    if route.stream or fields.get("stream") is True:
        words.append("stream")
    if "reasoning_effort" in fields or "reasoning" in fields or "thinking" in fields:
        words += _effort(fields)
    limit = (
        fields.get("max_tokens")
        or fields.get("max_completion_tokens")
        or fields.get("max_output_tokens")
    )
    if type(limit) is int and 0 < limit <= _SHORT:
        words.append("short")
    model = route.model or _model(fields.get("model"))
    return LLMCall(route.name, model, " ".join(words), sqrt(len(body)) if body else None)


def _model(name: object) -> str:
    return name if isinstance(name, str) and _MODEL.fullmatch(name) else ""


def _effort(fields: Mapping[str, Any]) -> list[str]:
    reasoning = fields.get("reasoning")
    effort = fields.get("reasoning_effort")
    if isinstance(reasoning, dict):
        effort = cast("dict[str, object]", reasoning).get("effort", effort)
    if isinstance(effort, str) and _EFFORT.fullmatch(effort):
        return [effort]
    thinking = fields.get("thinking")
    is_thinking = isinstance(thinking, dict) and (
        cast("dict[str, object]", thinking).get("type") not in (None, "disabled")
    )
    return ["thinking"] if is_thinking else []


def top_level(body: bytes) -> Mapping[str, Any]:
    """The fields of a JSON object that tell the model and the work; empty if it is none.

    Fields of objects within it do not count: they may come from anybody.
    """
    if body[:1].isspace():
        body = body.lstrip()
    if not body.startswith(b"{"):
        return {}
    try:
        if len(body) <= _WHOLE:
            whole: object = json.loads(body)
            return cast("dict[str, Any]", whole) if isinstance(whole, dict) else {}
        return dict((*_at_the_end(body), *_at_the_beginning(body)))
    except (ValueError, RecursionError):
        return {}


def _at_the_beginning(body: bytes) -> list[tuple[str, Any]]:
    edge = body[:_EDGE]
    found: list[tuple[str, Any]] = []
    depth = at = 0
    while len(found) < _MOST_MEMBERS and (token := _TOKEN.search(edge, at)) is not None:
        if depth == 1 and (member := _MEMBER.match(edge, _comma(edge, token.start()))):
            found.append(_parsed(member))
            at = member.end()
            continue
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(token[0], 0)
        at = token.end()
    return found


def _comma(edge: bytes, at: int) -> int:
    """Where the comma or brace before a token is; there may be white space between them."""
    return at - 1 - (len(edge[:at]) - len(edge[:at].rstrip()))


def _at_the_end(body: bytes) -> list[tuple[str, Any]]:
    edge = body[-_EDGE:]
    found: list[tuple[str, Any]] = []
    # No text can contain such a member: the quotes in it would be escaped.
    for member in [*_MEMBER.finditer(edge)][-_MOST_MEMBERS:]:
        depth = 0
        for token in _TOKEN.finditer(edge, member.end()):
            depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(token[0], 0)
            if depth < 0:
                if not edge[token.end() :].strip():  # the brace that ends the whole object
                    found.append(_parsed(member))
                break
    return found


def _parsed(member: re.Match[bytes]) -> tuple[str, Any]:
    return member[1].decode(), json.loads(member[2])
