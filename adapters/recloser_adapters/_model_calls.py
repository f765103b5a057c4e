"""What the guards of models share: their settings, and the watch of a stream of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import TypedDict, cast

from recloser import Permit, Pieces, Registry
from recloser.hints import check_registry
from recloser_adapters._outbound.settings import check_names
from recloser_adapters._outbound.usage import size_of


class ModelGuardSettings(TypedDict, total=False):
    """The settings of a guarded model, as keyword arguments. Each of them is optional.

    Attributes:
        key: The key of the breaker; by default the provider and the model: `openai:gpt-5`.
        cut_off: Whether an asynchronous call without streaming ends when an answer is hopeless
            (`Permit.timeout`, which is learned); by default False. It raises an error for which
            the framework's own fallback goes on to the next model. It needs asyncio.
    """

    key: str
    cut_off: bool


def check_model_guard(registry: object, settings: ModelGuardSettings) -> None:
    """Check the arguments of a user.

    Raises:
        TypeError: One has the wrong type, or does not exist.
        ValueError: The key is empty.
    """
    if registry is not None:
        check_registry(registry, Registry)
    check_names(settings, ModelGuardSettings.__optional_keys__)
    key = settings.get("key", "-")
    if not isinstance(key, str):
        raise TypeError(f"key must be a str, not {key!r}")
    if not key:
        raise ValueError("key must not be empty")
    cut_off = settings.get("cut_off", False)
    if not isinstance(cut_off, bool):
        raise TypeError(f"cut_off must be True or False, not {cut_off!r}")


def characters(content: object) -> int:
    """The characters of all texts in the content of a message: about how long a prompt is."""
    is_many = isinstance(content, (list, tuple))
    parts = cast("Sequence[object]", content) if is_many else (content,)
    total = 0
    for part in parts:
        is_block = isinstance(part, Mapping)
        text = cast("Mapping[str, object]", part).get("text") if is_block else part
        total += len(text) if isinstance(text, str) else 0
    return total


def note_tokens(permit: Permit, request_bytes: int, tokens: object) -> None:
    """Note how many tokens an answer has, if that is told: they explain how long it took."""
    if isinstance(tokens, int) and tokens >= 0:
        permit.size = size_of(request_bytes, tokens)


class EventWatch:
    """Tells a permit of the events of a stream. The latency is the time to the first one.

    Args:
        permit: The permit of the call.
    """

    __slots__ = ("_permit", "_pieces")

    def __init__(self, permit: Permit) -> None:
        self._permit = permit
        self._pieces: Pieces | None = None

    def asked(self) -> None:
        """The caller wants the next event."""
        if self._pieces is not None:
            self._pieces.asked()

    def arrived(self) -> None:
        """An event has come."""
        if self._pieces is None:
            self._pieces = self._permit.pieces()
        else:
            self._pieces.arrived()

    def read_all(self) -> None:
        """The stream has ended by itself."""
        if self._pieces is not None:
            self._pieces.arrived()  # what comes after the last event took so long
        self._permit.success()


def leave(permit: Permit) -> None:
    """End the permit of a stream that its caller leaves: if an event has come, it has an answer."""
    if permit.answered == inf:
        permit.cancel()
    else:
        permit.success()
