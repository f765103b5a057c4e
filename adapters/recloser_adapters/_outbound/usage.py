"""The tokens that the answer of a language model names: how long the prompt was, and the answer."""

from __future__ import annotations

import re
from math import sqrt

# OpenAI's chat, Anthropic and OpenAI's responses, Gemini, Bedrock, Ollama.
_INPUT = re.compile(
    rb'"(?:prompt_tokens|input_tokens|promptTokenCount|inputTokens|prompt_eval_count)"\s*:\s*(\d{1,9})\b'
)
_OUTPUT = re.compile(
    rb'"(?:completion_tokens|output_tokens|candidatesTokenCount|outputTokens|eval_count)"\s*:\s*(\d{1,9})\b'
)
# One token of the answer takes about as long as so many bytes of the prompt: a model reads some 5,000
# tokens a second, each of four bytes, and writes some 300 at best.
_BYTES_PER_TOKEN = 64.0


def input_tokens(*places: bytes) -> int | None:
    """The tokens of the prompt, from the first place in an answer that names them."""
    return _last(_INPUT, places)


def output_tokens(*places: bytes) -> int | None:
    """The tokens of the answer, from the first place in it that names them."""
    return _last(_OUTPUT, places)


def _last(name: re.Pattern[bytes], places: tuple[bytes, ...]) -> int | None:
    for place in places:
        found = name.findall(place)
        if found:
            return int(found[-1])
    return None


def size_of(request_bytes: int, tokens: int = 0) -> float:
    """The size of a call to a model, so that calls within a factor of four are alike.

    Args:
        request_bytes: The bytes of its request.
        tokens: The tokens of its answer; 0 if they are unknown.
    """
    return sqrt(request_bytes + _BYTES_PER_TOKEN * tokens)
