"""Verdicts by the beginning of a body: the setting `verdict`, its presets, and the watch that asks it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from recloser import Outcome, Registry
from recloser.hints import check_function, meant
from recloser_adapters._outbound.body import AnyBodyWatch, BodyWatch, ReadingWatch
from recloser_adapters._outbound.decoding import Decoder
from recloser_adapters._outbound.errors_in_200 import (
    BodyError,
    end_by,
    graphql_error_of,
    speaks_of_trouble,
    whole_error_of,
)
from recloser_adapters._outbound.permit import CallPermit, ReportedPermit
from recloser_adapters._outbound.usage import output_tokens

Verdict: TypeAlias = Callable[[int, Mapping[str, str], bytes], Outcome | None]
"""A user's verdict: it takes the status, the headers and the beginning of a body."""
Preset: TypeAlias = Literal["llm", "graphql"]
PRESETS: tuple[Preset, ...] = ("llm", "graphql")
"""The names of the ready-made verdicts."""
BEGINNING = 16_384
"""A verdict is asked when so many bytes of a body have arrived, or all of them."""
# Bytes of the end of a body that are kept: the number of tokens is there.
_TAIL = 2048
# Possible last bytes of JSON.
_JSON_ENDS = b'}]"0123456789el'


class VerdictWatch(ReadingWatch):
    """Watches the beginning of a body, and asks for a verdict once.

    Args:
        permit: The permit of the call.
        watch: The watch that is told everything, too, and ends the call if the verdict does not.
        encoding: The content encoding; "" if it has none.
        judge: Takes the decoded beginning and whether it is the whole body. It returns what ends the
            call now, or None. It may raise.
        registry: Counts a fault of the judge.
        good: Whether the answer is a success without the verdict.
    """

    __slots__ = (
        "_asked_once",
        "_decoder",
        "_good",
        "_judge",
        "_registry",
        "_seen",
        "_tail",
        "_watch",
    )

    def __init__(
        self,
        permit: CallPermit,
        watch: AnyBodyWatch,
        encoding: str,
        judge: Callable[[bytes, bool], BodyError | None],
        registry: Registry,
        *,
        good: bool,
    ) -> None:
        super().__init__(permit)
        self._good = good
        self._watch = watch
        self._decoder = Decoder(encoding)
        self._judge = judge
        self._registry = registry
        self._seen = bytearray()
        self._asked_once = False
        # The end of the body, if it tells how many tokens the answer has.
        self._tail: bytes | None = None
        if good and isinstance(permit, ReportedPermit) and permit.request_bytes:
            self._tail = b""

    @property
    def decided(self) -> bool:
        """Whether what comes can no longer change whether this is an answer."""
        return self._asked_once and self._watch.decided

    @property
    def cuts_off(self) -> bool:
        """Whether the caller's wait for a piece ends when it is hopeless."""
        return self._watch.cuts_off

    @property
    def patience(self) -> float:
        """Seconds from now after which it is hopeless to wait for a piece."""
        return self._watch.patience

    @property
    def longest_wait(self) -> float:
        """Seconds for which one read of the body may take."""
        return self._watch.longest_wait

    def arrived(self, data: bytes) -> None:
        """The body has begun to arrive."""
        self._watch.arrived(data)

    def asked(self) -> None:
        """The caller waits for the next chunk."""
        self._watch.asked()

    def chunk(self, data: bytes) -> None:
        """Keep the beginning of the body, and judge it when it is long enough."""
        self._watch.chunk(data)
        if self._asked_once and self._tail is None:
            return
        text = self._decoder.feed(data)
        if self._tail is not None:
            self._tail = (self._tail + text)[-_TAIL:]
        if not self._asked_once:
            self._seen += text
            if len(self._seen) >= BEGINNING:
                self._ask(whole=False)

    def eof(self) -> None:
        """Judge the body if it was short; end the call."""
        self._ask(whole=True)
        permit = self._permit
        if self._tail and isinstance(permit, ReportedPermit):
            tokens = output_tokens(self._tail)
            if tokens:
                permit.note_tokens(tokens)
        self._watch.eof()

    def closed(self) -> None:
        """Judge what has arrived; end the call."""
        self._ask(whole=False)
        self._watch.closed()

    def failed(self, error: BaseException, *, local: bool = False) -> None:
        """Reading the body raised an error."""
        self._asked_once = True
        self._watch.failed(error, local=local)

    def _ask(self, *, whole: bool) -> None:
        if self._asked_once:
            return
        self._asked_once = True
        seen = bytes(self._seen[:BEGINNING])
        self._seen.clear()
        if not self._decoder.readable:
            return
        try:
            error = self._judge(seen, whole)
        except Exception as fault:
            self._registry.fault("verdict", fault)
            return
        # A good answer may still break off, so a verdict of success does not end it.
        if error is not None and not (self._good and error.outcome is Outcome.SUCCESS):
            end_by(self._permit, error, seen)


class FixedWatch(BodyWatch):
    """A watch that ends a call as its status says, once its body has arrived or is closed.

    Args:
        permit: The permit of the call.
        outcome: The outcome.
        what: What failed, such as `HTTP 502`.
        retry_after: Seconds of the pause that the callee asked for; None for none.
    """

    __slots__ = ("_outcome", "_retry_after", "_what")

    def __init__(
        self, permit: CallPermit, outcome: Outcome, what: str, retry_after: float | None
    ) -> None:
        super().__init__(permit)
        self._outcome = outcome
        self._what = what
        self._retry_after = retry_after

    def eof(self) -> None:
        """The body is complete."""
        self._permit.end(self._outcome, error=self._what, retry_after=self._retry_after)

    def closed(self) -> None:
        """The caller closed the body."""
        self.eof()

    def failed(self, error: BaseException, *, local: bool = False) -> None:
        """Reading the body raised an error. The status arrived before it."""
        self.eof()


def judge_of_user(
    verdict: Verdict, status: int, headers: Mapping[str, str]
) -> Callable[[bytes, bool], BodyError | None]:
    """Ask a user's function."""

    def judge(beginning: bytes, whole: bool) -> BodyError | None:
        outcome = verdict(status, headers, beginning)
        if outcome is None:
            return None
        if not isinstance(outcome, Outcome):
            raise TypeError(f"verdict must return an Outcome or None, not {outcome!r}")
        return BodyError(outcome, f"verdict on the body of HTTP {status}")

    return judge


def judge_model(beginning: bytes, whole: bool) -> BodyError | None:
    """Judge the answer of a model's API in JSON that is no stream."""
    if not whole:
        return None
    text = beginning.strip()
    if not text or text[-1] not in _JSON_ENDS:
        return BodyError(Outcome.FAILURE, "error in the body: incomplete JSON")
    return whole_error_of(_parsed(text)) if b'"error"' in text or b'"ERROR"' in text else None


def judge_text(beginning: bytes, whole: bool) -> BodyError | None:
    """Judge a text or XML where the answer of a model in JSON was promised.

    It may be JSON after all. If not, it is a failure if it speaks of trouble of a server.
    """
    text = beginning.strip()
    if text[:1] in (b"{", b"["):
        return judge_model(beginning, whole)
    if text.startswith((b"data:", b"event:", b":")) or not speaks_of_trouble(text):
        return None
    return BodyError(Outcome.FAILURE, "text where JSON was promised")


def judge_graphql(beginning: bytes, whole: bool) -> BodyError | None:
    """Judge the answer of a GraphQL server."""
    if not whole or b'"errors"' not in beginning:
        return None
    return graphql_error_of(_parsed(beginning))


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def check_verdict(verdict: object) -> None:
    """Check the setting `verdict`.

    Raises:
        TypeError: It is neither a function nor a name.
        ValueError: There is no preset of that name.
    """
    if verdict is None:
        return
    if callable(verdict):
        check_function("verdict", verdict)
        return
    names = ", ".join(f'"{name}"' for name in PRESETS)
    if not isinstance(verdict, str):
        raise TypeError(f"verdict must be {names} or a callable, not {verdict!r}")
    if verdict not in PRESETS:
        hint = meant(verdict, PRESETS)
        raise ValueError(f"verdict must be {names} or a callable, not {verdict!r}{hint}")
