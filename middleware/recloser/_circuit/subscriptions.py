"""Which streams are answers, and which are subscriptions.

A stream announces itself: its headers come, and its first piece comes later. Where the stream is the
answer to a question, such as that of a language model, the callee hangs if the first piece does not
come. Where it is a subscription, such as that of a chat room, nothing comes until something happens:
waiting is not slowness, and the headers are all the answer there is.

Nothing in a request tells the two apart, but how streams end does. The callee ends an answer. It is
the caller who ends a subscription. So a stream that waits for its first piece is judged only if
streams of its kind were answers: the callee ended most of them, and began nearly all of them at once.
(Some servers end subscriptions, too, after a time. Their first pieces come at any time, though.)
Otherwise it was answered by its headers. An error in this direction costs what it would cost without
a breaker; one in the other direction would refuse a chat room at night.
"""

from __future__ import annotations

# A kind of streams is judged after this many of them, as latency is (`Policy.min_history`).
_ENOUGH = 20.0
# About this many of the latest streams are remembered, with weights that fall exponentially.
_MEMORY = 200.0
# Share of the streams that the callee must have ended. Clients leave some answers before their end.
_ENDED = 0.75
# Share of the streams that must have begun within the slow threshold. Of a Poisson process, seven in
# eight begin within three times the median.
_PROMPT = 0.95
# Kinds of streams that are told apart for each key. A key that has more judges none of the others.
_MAX_KINDS = 8
# What is known of a kind that was never seen.
_UNSEEN = (0.0, 0.0, 0.0)


class Subscriptions:
    """What is known of the streams of one key, by their kind: method and content type.

    It needs no lock: if two threads collide, a stream is not counted.
    """

    __slots__ = ("_kinds",)

    def __init__(self) -> None:
        # By kind, with weights: streams, those that the callee ended, those that began at once.
        self._kinds: dict[str, tuple[float, float, float]] = {}

    def learn(self, kind: str, *, prompt: bool, ended: bool) -> None:
        """Count a stream of which a piece came.

        Args:
            kind: What kind of stream it was.
            prompt: Whether its first piece came within the slow threshold.
            ended: Whether the callee ended it, and not the caller.
        """
        before = self._kinds.get(kind)
        if before is None:
            if len(self._kinds) >= _MAX_KINDS:
                return
            before = _UNSEEN
        kept = 1.0 - 1.0 / _MEMORY
        streams, by_callee, at_once = before
        self._kinds[kind] = kept * streams + 1.0, kept * by_callee + ended, kept * at_once + prompt

    def are_answers(self, kind: str) -> bool:
        """Whether streams of this kind are answers, so that one that does not begin hangs."""
        streams, by_callee, at_once = self._kinds.get(kind, _UNSEEN)
        return streams >= _ENOUGH and by_callee >= _ENDED * streams and at_once >= _PROMPT * streams
