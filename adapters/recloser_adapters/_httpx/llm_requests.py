"""Requests to LLM APIs: of whom, and how often, it is safe to ask what they ask for.

A model answers what `_outbound/llm.py` knows as such; a second answer costs money, but it has no other
effect. The tables below have the exceptions. What is in no table is sent once, because it may act.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, unquote

from recloser_adapters._outbound.llm import ANSWERED, LLMCall, llm_call, route_of
from recloser_adapters._outbound.llm_body import MODEL_IN_FORM


class Reach(enum.Enum):
    """Of whom a request may be asked, and how often."""

    ANYONE = "anyone"
    """Of any provider, and again of another one if the first fails: it has no effect but its answer."""
    ONCE = "once"
    """Of any provider, but it is sent once: it may act."""
    MAKER = "maker"
    """Only of the provider that made what it names: a file, a batch, a stored response."""


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


@dataclass(frozen=True, slots=True)
class LLMRequest:
    """What is known of one request to an LLM API.

    Attributes:
        reach: Of whom it may be asked, and how often.
        makes: Whether the provider may keep something for it that later requests name.
        document: Its body, if that is a JSON object; else None.
        call: What is known of the work, if a model answers it; else None.
    """

    reach: Reach
    makes: bool
    document: dict[str, Any] | None
    call: LLMCall | None

    @property
    def generates(self) -> bool:
        """Whether a model answers it."""
        return self.call is not None

    @property
    def model(self) -> str | None:
        """The name of the model or deployment; None if it names none."""
        return None if self.call is None else self.call.model or None


UNREAD = LLMRequest(Reach.ONCE, False, None, None)
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
    document = _document(content) if method == "POST" else None
    call = None
    if method == "POST" and not made and (route := route_of(path, at_model=True)) is not None:
        call = llm_call(route, content or b"", document) if route.name in ANSWERED else None
    reach, makes = _reach(method, parts, belongs, made, call is not None, content, document)
    return LLMRequest(reach, makes, document, call)


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


def renamed_path(raw_path: bytes, models: Mapping[str, str]) -> bytes:
    """A path in which a model or deployment has the provider's own name."""
    found = _MODEL_IN_PATH.search(raw_path)
    name = None if found is None else models.get(unquote(found[1].decode("latin-1")))
    if found is None or name is None:
        return raw_path
    return raw_path[: found.start(1)] + _quoted(name) + raw_path[found.end(1) :]


def _quoted(name: str) -> bytes:
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
    form = MODEL_IN_FORM.search(content)
    name = None if form is None else models.get(form[2].decode("utf-8", "replace").strip())
    if form is None or name is None:
        return None
    return content[: form.start(2)] + name.encode() + content[form.end(2) :]
