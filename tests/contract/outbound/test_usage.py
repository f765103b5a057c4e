"""The tokens that an answer names, without a client: in the words of each API."""

from __future__ import annotations

import pytest

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.usage import input_tokens, output_tokens, size_of


@pytest.mark.parametrize(
    ("said", "prompt", "answer"),
    [
        # OpenAI's chat, its responses and Anthropic, Gemini, Bedrock, Ollama
        (b'{"usage": {"prompt_tokens": 7, "completion_tokens": 21, "total_tokens": 28}}', 7, 21),
        (b'{"usage":{"input_tokens":7,"output_tokens":21}}', 7, 21),
        (b'{"usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 21}}', 7, 21),
        (b'{"usage": {"inputTokens": 7, "outputTokens": 21, "totalTokens": 28}}', 7, 21),
        (b'{"done": true, "prompt_eval_count": 7, "eval_count": 21}', 7, 21),
        (
            b'{"usage": {"prompt_tokens" :\n 123456789, "completion_tokens" : 987654321}}',
            123456789,
            987654321,
        ),
        # The last one counts: in a stream the numbers grow.
        (b'{"input_tokens": 1, "output_tokens": 2} {"input_tokens": 3, "output_tokens": 4}', 3, 4),
        # None of a sane length
        (b'{"prompt_tokens": 1234567890, "completion_tokens": 1234567890}', None, None),
        (b'{"prompt_tokens": "7", "completion_tokens": null}', None, None),
        (b'{"my_prompt_tokens": 7, "completion_tokens_details": 21}', None, None),
        (b"prompt_tokens: 7, completion_tokens: 21", None, None),
        (b"", None, None),
    ],
)
def test_the_tokens_are_read_in_the_words_of_each_api(
    said: bytes, prompt: int | None, answer: int | None
) -> None:
    assert input_tokens(said) == prompt
    assert output_tokens(said) == answer


def test_of_several_places_the_first_that_names_them_counts() -> None:
    first, second = (
        b'{"input_tokens": %d, "output_tokens": %d}' % (number, 10 * number) for number in (1, 2)
    )

    assert (input_tokens(b"{}", first, second), output_tokens(b"{}", first, second)) == (1, 10)
    assert (input_tokens(second, first), output_tokens(second, first)) == (2, 20)
    assert (input_tokens(), output_tokens()) == (None, None)


def test_a_token_of_the_answer_weighs_as_much_as_64_bytes_of_the_request() -> None:
    assert size_of(100) == 10.0
    assert size_of(36, 1) == 10.0
    assert size_of(272, 2) == 20.0
    assert size_of(0) == 0.0
