"""Requests to LLM APIs: what they ask for, and of whom and how often it is safe to ask that.

The tables below say it. What is in no table is sent once, because it may act.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import log2
from typing import Any, cast
from urllib.parse import unquote


class Reach(enum.Enum):
    """Of whom a request may be asked, and how often."""

    ANYONE = "anyone"
    """Of any provider, and again of another one if the first fails: it has no effect but its answer."""
    ONCE = "once"
    """Of any provider, but it is sent once: it may act."""
    MAKER = "maker"
    """Only of the provider that made what it names: a file, a batch, a stored response."""


# POST requests that a model answers. A second one costs money, but it has no other effect.
_GENERATES = re.compile(
    r"/(?:chat/completions|completions|complete|responses|responses/input_tokens|messages"
    r"|messages/count_tokens|embeddings|embed|moderations|rerank|classify|tokenize|detokenize|ocr"
    r"|chat|generate"  # Cohere and Ollama
    r"|audio/(?:transcriptions|translations|speech)|images/(?:generations|edits|variations)"
    # Gemini and Vertex, then Bedrock
    r"|(?:models|publishers/[^/]+/models)/[^/:]+:(?:generateContent|streamGenerateContent|countTokens"
    r"|embedContent|batchEmbedContents|predict|rawPredict|streamRawPredict)"
    r"|model/[^/]+/(?:invoke|invoke-with-response-stream|converse|converse-stream))$"
)
# Parts of paths: what is under them was made by one provider, and no other one knows it.
_MADE = frozenset(
    [
        "files",
        "uploads",
        "batches",
        "jobs",
        "threads",
        "runs",
        "assistants",
        "conversations",
        "containers",
        "vector_stores",
        "evals",
        "fine_tuning",
        "fine-tunes",
        "fine_tunes",
        "finetuned-models",
        "tunedModels",
        "cachedContents",
        "operations",
        "corpora",
        "fileSearchStores",
        "interactions",
        "videos",
        "skills",
        "agents",
        "prompts",
        "sessions",
        "datasets",
        "connectors",
        "libraries",
        "organization",
        "organizations",
        "async-invoke",
    ]
)
# A stored answer, and what is done to it.
_STORED = re.compile(
    r"/(?:responses/(?!input_tokens$)|chat/completions/|completions/|messages/(?!count_tokens$))."
)
# Members of a body that name what a provider has made, with a name as their value.
_NAMES_MADE = re.compile(
    rb'"(?:previous_response_id|previous_interaction_id|conversation|container|file_ids?'
    rb"|input_file_id|training_file|validation_file|vector_store_ids|assistant_id|thread_id|batch_id"
    rb'|cached_?[cC]ontent|file_?[uU]ri)"\s*:\s*(?:"[^"]|\[\s*"|\{\s*"id")'
    # Items of `/responses` that are kept by the provider, or can be read by it only.
    rb'|"type"\s*:\s*"(?:item_reference|reasoning)"'
)
# Members of a body with which the provider itself does something: it works in the background, calls
# servers, searches, executes code.
_ACTS = (
    "background",
    "mcp_servers",
    "connectors",
    "plugins",
    "web_search_options",
    "search_parameters",
)
# A tool of these types is executed by the caller, who gets the arguments for it. All others may be
# executed by the provider.
_HARMLESS_TOOLS = frozenset({"function", "custom"})
# A tool without a type is such a one if it is described by one of these members.
_DESCRIBED = frozenset({"name", "function", "input_schema", "parameter_definitions"})
_FUNCTIONS = frozenset({"functionDeclarations", "function_declarations"})

_MODEL_IN_PATH = re.compile(rb"/(?:deployments|models|model|engines)/([^/:?]+)")
_MODEL_IN_FORM = re.compile(rb'(name="model"\r\n(?:[^\r\n]+\r\n)*\r\n)([^\r\n]+)(?=\r\n)')
_LONGEST_NAME = 100  # characters of the name of a model; a breaker is made for each
# One token of the answer takes as long as so many bytes of the prompt.
_BYTES_PER_TOKEN = 64.0
_MOST_TOKENS = ("max_completion_tokens", "max_output_tokens", "max_tokens")


@dataclass(frozen=True, slots=True)
class LLMRequest:
    """What is known of one request to an LLM API.

    Attributes:
        reach: Of whom it may be asked, and how often.
        generates: Whether a model answers it.
        makes: Whether the provider may keep something for it that later requests name.
        model: The name of the model or deployment; None if it names none.
        document: Its body, if that is a JSON object; else None.
        label: What kind of call it is, for latency that this explains; None for none.
        size: How much work it is; None if unknown.
    """

    reach: Reach
    generates: bool
    makes: bool
    model: str | None
    document: dict[str, Any] | None
    label: str | None
    size: float | None


UNREAD = LLMRequest(Reach.ONCE, False, False, None, None, None, None)
"""What is known of a request that could not be read."""


def read_request(method: str, raw_path: bytes, content: bytes | None) -> LLMRequest:
    """Read a request to an LLM API.

    Args:
        method: The HTTP method.
        raw_path: The path and the query, as they are sent.
        content: The body; None if it can be sent only once and is not to be read.
    """
    path = raw_path.partition(b"?")[0].decode("latin-1").rstrip("/")
    parts = path.split("/")
    belongs = next((index for index, part in enumerate(parts) if part in _MADE), 0)
    made = bool(belongs) or _STORED.search(path) is not None
    generates = method == "POST" and not made and _GENERATES.search(path) is not None
    document = _document(content) if generates or method == "POST" else None
    reach, makes = _reach(method, parts, belongs, made, generates, content, document)
    model = _model(raw_path, document, content)
    label, size = _work(document, content, raw_path) if generates else (None, None)
    return LLMRequest(reach, generates, makes, model, document, label, size)


def _reach(
    method: str,
    parts: list[str],
    belongs: int,
    made: bool,
    generates: bool,
    content: bytes | None,
    document: dict[str, Any] | None,
) -> tuple[Reach, bool]:
    """Of whom a request may be asked, and whether the provider may keep something for it."""
    if content is not None and _NAMES_MADE.search(content) is not None:
        return Reach.MAKER, method == "POST"
    if isinstance((document or {}).get("prompt"), dict):  # a stored prompt of `/responses`
        return Reach.MAKER, True
    if generates:
        makes = parts[-1] == "responses"
        # Only forms are no JSON.
        if content is None or (document is None and not content.startswith(b"--")):
            return Reach.ONCE, makes
        return Reach.ONCE if document is not None and _acts(document) else Reach.ANYONE, makes
    if made:
        creates = method == "POST" and all(
            part in _MADE or part == "messages" for part in parts[belongs or -1 :]
        )
        return (Reach.ONCE, True) if creates else (Reach.MAKER, method == "POST")
    if method in ("GET", "HEAD", "OPTIONS"):
        return Reach.ANYONE, False
    return (Reach.ONCE, True) if method == "POST" else (Reach.MAKER, False)


def _document(content: bytes | None) -> dict[str, Any] | None:
    if content is None or content.lstrip()[:1] != b"{":
        return None
    try:
        document: object = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", document) if isinstance(document, dict) else None


def _acts(document: Mapping[str, Any]) -> bool:
    """Whether the provider may do more for a request than answer."""
    if any(document.get(name) not in (None, False, []) for name in _ACTS):
        return True
    tools = document.get("tools")
    if tools is None:
        return False
    return not isinstance(tools, list) or not all(map(_is_harmless, cast("list[object]", tools)))


def _is_harmless(tool: object) -> bool:
    if not isinstance(tool, dict):
        return False
    described = cast("dict[str, Any]", tool)
    if "type" in described:
        kind = described["type"]
        return isinstance(kind, str) and kind in _HARMLESS_TOOLS
    return bool(_DESCRIBED & set(described)) or (bool(described) and set(described) <= _FUNCTIONS)


def _model(
    raw_path: bytes, document: Mapping[str, Any] | None, content: bytes | None
) -> str | None:
    name: object = None
    if document is not None:
        name = document.get("model")
    elif content is not None and (form := _MODEL_IN_FORM.search(content)) is not None:
        name = form[2].decode("utf-8", "replace").strip()
    if not isinstance(name, str):
        in_path = _MODEL_IN_PATH.search(raw_path)
        name = None if in_path is None else unquote(in_path[1].decode("latin-1"))
    return name if isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME else None


def _work(
    document: Mapping[str, Any] | None, content: bytes | None, raw_path: bytes
) -> tuple[str | None, float | None]:
    """The label and the size of a request that a model answers."""
    if content is None:
        return None, None
    size = float(len(content))
    if document is None:
        return None, _coarse(size)
    streams = bool(document.get("stream")) or b":stream" in raw_path
    reasoning = document.get("reasoning")
    effort = document.get("reasoning_effort")
    if effort is None and isinstance(reasoning, dict):
        effort = cast("dict[str, Any]", reasoning).get("effort")
    words = ["stream"] if streams else []
    if isinstance(effort, str):
        words.append(effort[:16])
    if not streams:
        tokens = next((document[name] for name in _MOST_TOKENS if name in document), 0)
        if isinstance(tokens, int) and 0 < tokens < 1_000_000:
            size += _BYTES_PER_TOKEN * tokens
    return " ".join(words) or None, _coarse(size)


def _coarse(size: float) -> float:
    """A size as a power of four: a breaker tells few kinds apart, and knows each after some calls."""
    return 4.0 ** round(log2(max(size, 1.0)) / 2.0)


def renamed_path(raw_path: bytes, models: Mapping[str, str]) -> bytes:
    """A path in which a model or deployment has the provider's own name."""
    found = _MODEL_IN_PATH.search(raw_path)
    name = None if found is None else models.get(unquote(found[1].decode("latin-1")))
    if found is None or name is None:
        return raw_path
    return raw_path[: found.start(1)] + _quoted(name) + raw_path[found.end(1) :]


def _quoted(name: str) -> bytes:
    from urllib.parse import quote

    return quote(name, safe="-._~@").encode("ascii")


def renamed_body(
    request: LLMRequest, content: bytes | None, models: Mapping[str, str]
) -> bytes | None:
    """A body in which the model has the provider's own name; None if it needs no change."""
    if not models or content is None:
        return None
    document = request.document
    if document is not None:
        asked = document.get("model")
        name = models.get(asked) if isinstance(asked, str) else None
        return None if name is None else json.dumps({**document, "model": name}).encode()
    form = _MODEL_IN_FORM.search(content)
    name = None if form is None else models.get(form[2].decode("utf-8", "replace").strip())
    if form is None or name is None:
        return None
    return content[: form.start(2)] + name.encode() + content[form.end(2) :]
