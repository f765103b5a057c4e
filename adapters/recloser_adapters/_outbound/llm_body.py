"""What the body of a request to a language model says of the work: model, stream, effort, tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import log2
from typing import Any, cast

# Bytes of a body that are parsed in whole, which takes 0.3 ms at most. Of a longer one, only its
# beginning and its end are searched: a long text is in the middle.
WHOLE = 65_536
_EDGE = 4_096
_FIELDS = rb"model|stream|max_tokens|max_completion_tokens|max_output_tokens|reasoning_effort|think"
_SCALAR = rb'"(?:[^"\\]|\\.){0,128}"|true|false|[0-9]{1,12}'
_MEMBER = re.compile(rb'[{,]\s*"(' + _FIELDS + rb')"\s*:\s*(' + _SCALAR + rb")(?=\s*[,}])")
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\]]', re.DOTALL)
_MOST_MEMBERS = 12  # of a long body, from each edge; an honest one has half a dozen
MODEL_IN_FORM = re.compile(rb'(name="model"\r\n(?:[^\r\n]+\r\n)*\r\n)([^\r\n]+)(?=\r\n)')
"""The model in a form: what is before it, and its name."""
# A name for the effort: `high` or, for a budget, a number of tokens.
_EFFORT = re.compile(r"[a-z]{1,16}")
# Where the APIs keep the most tokens that an answer may have: fields, and fields of an object.
_MOST_TOKENS = ("max_completion_tokens", "max_output_tokens", "max_tokens", "max_tokens_to_sample")
_MOST_TOKENS_WITHIN = (
    ("generationConfig", "maxOutputTokens"),  # Gemini
    ("generation_config", "max_output_tokens"),
    ("inferenceConfig", "maxTokens"),  # Bedrock
    ("options", "num_predict"),  # Ollama
)
# The same of the effort, or of the tokens that may be used to think.
_EFFORTS = ("reasoning_effort", "think")
_EFFORTS_WITHIN = (
    ("reasoning", "effort"),
    ("reasoning", "max_tokens"),  # OpenRouter
    ("output_config", "effort"),  # Anthropic
    ("thinking", "budget_tokens"),
    ("thinking", "token_budget"),  # Cohere
)
_THINKING_OF_GEMINI = ("thinkingLevel", "thinkingBudget")


def fields_of(body: bytes, document: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """The fields of a JSON object that tell the model and the work; empty if it is none.

    Fields of objects within it do not count: they may come from anybody.

    Args:
        body: The body.
        document: The same, if it is parsed already.
    """
    if body[:1].isspace():
        body = body.lstrip()
    if not body.startswith(b"{"):
        return {}
    try:
        if len(body) > WHOLE:
            return dict((*_at_the_end(body), *_at_the_beginning(body)))
        if document is not None:
            return document
        return cast("dict[str, Any]", json.loads(body))  # for it begins with a brace
    except (ValueError, RecursionError):
        return {}


def model_of(body: bytes, fields: Mapping[str, Any]) -> object:
    """The model that a body names, in a field or a form; None if it names none. It may be no text."""
    if fields or not body.startswith(b"--"):
        return fields.get("model")
    form = MODEL_IN_FORM.search(body)
    return None if form is None else form[2].decode("utf-8", "replace").strip()


def effort_of(fields: Mapping[str, Any]) -> str:
    """The effort that a model is asked for, as a word or as a coarse number of tokens; "" for none."""
    said: list[object] = [fields.get(name) for name in _EFFORTS]
    said += [_within(fields, *names) for names in _EFFORTS_WITHIN]
    config = _dict(fields.get("generationConfig") or fields.get("generation_config"))
    gemini = _dict(config.get("thinkingConfig") or config.get("thinking_config"))
    said += map(gemini.get, _THINKING_OF_GEMINI)
    for each in said:
        if isinstance(each, str) and _EFFORT.fullmatch(each.lower()):
            return each.lower()
        if (tokens := _coarse(each)) or each is True:
            return f"thinking {tokens}" if tokens else "thinking"
    kind = _within(fields, "thinking", "type")
    return "thinking" if isinstance(kind, str) and kind != "disabled" else ""


def most_tokens_of(fields: Mapping[str, Any]) -> int:
    """The most tokens that the answer may have, as a power of four; 0 if that is not limited."""
    said: list[object] = [fields.get(name) for name in _MOST_TOKENS]
    said += [_within(fields, *names) for names in _MOST_TOKENS_WITHIN]
    return next((tokens for each in said if (tokens := _coarse(each))), 0)


def _within(fields: Mapping[str, Any], name: str, inner: str) -> object:
    return _dict(fields.get(name)).get(inner)


def _dict(value: object) -> Mapping[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _coarse(tokens: object) -> int:
    """A number of tokens as a power of four, because a breaker tells few kinds apart; 0 for none."""
    if type(tokens) is not int or not 0 < tokens < 100_000_000:
        return 0
    return int(4 ** round(log2(tokens) / 2.0))


def _at_the_beginning(body: bytes) -> list[tuple[str, Any]]:
    edge = body[:_EDGE]
    found: list[tuple[str, Any]] = []
    depth = at = 1  # after the brace that begins the object
    while len(found) < _MOST_MEMBERS and (token := _TOKEN.search(edge, at)) is not None:
        if depth == 1 and (member := _MEMBER.match(edge, _comma(edge, token.start()))):
            found.append(_parsed(member))
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
