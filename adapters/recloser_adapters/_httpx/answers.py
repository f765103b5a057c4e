"""What an answer of a provider tells: its request id, its tokens, and why it rejects a request."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from recloser import Answer, asked_in_body
from recloser_adapters._outbound.body import ReadingWatch
from recloser_adapters._outbound.usage import input_tokens, output_tokens

_REQUEST_IDS = (
    "x-request-id",
    "request-id",
    "x-goog-request-id",
    "x-amzn-requestid",
    "apim-request-id",
)
# Bytes kept of the beginning and of the end of a body: the tokens are near one of them.
_HEAD, _TAIL = 4096, 8192
# Statuses with which a provider rejects a request without carrying it out: the key is not valid, the
# credit is used up, access is denied, there is no such model. The value is whether all models are.
_REJECTIONS = {401: True, 402: True, 403: False, 404: False, 410: False}
# The same under status 400.
_NO_MODEL = re.compile(
    rb'"(?:model_not_found|model_not_available|model_not_supported|model_decommissioned'
    rb'|invalid_model|DeploymentNotFound)"'
)
# Gemini says so of a key that is not valid. Anthropic says under 400 that the credit is used up.
_NO_KEY = re.compile(rb'"(?:API_KEY_INVALID|API_KEY_EXPIRED|API_KEY_SERVICE_BLOCKED)"')


def rejection(status: int, body: bytes, *, generates: bool) -> bool | None:
    """Whether an answer rejects the credentials or the model, rather than the request.

    Args:
        status: Its status.
        body: Its body, if the status is 400.
        generates: Whether a model was asked. If not, a 404 may be about what the request names.

    Returns:
        None if it does not; else whether it rejects all models.
    """
    if status in (401, 402):
        return True
    if not generates:
        return False if status == 403 else None
    if status == 400:
        if _NO_KEY.search(body) is not None or asked_in_body(body).quota:
            return True
        return False if _NO_MODEL.search(body) is not None else None
    return _REJECTIONS.get(status)


class AnswerTap(ReadingWatch):
    """Watches the body of an answer for what it tells. It ends no permit.

    Args:
        headers: The headers of the answer.
        model: The name of the model that was asked.
        on_head: Called with the beginning of the body, once, as soon as it has arrived.
        on_end: Called once when the body has ended, in any way.
        decoded: Whether the body is given without its content encoding.
    """

    # Interrupted, `__init__` leaves an object that has only this, and that is collected as garbage.
    _on_end: Callable[[Answer], object] | None = None

    def __init__(
        self,
        headers: Mapping[str, str],
        model: str | None,
        on_head: Callable[[bytes], object],
        on_end: Callable[[Answer], object],
        *,
        decoded: bool = False,
    ) -> None:
        self._request_id = next((headers[name] for name in _REQUEST_IDS if name in headers), None)
        self._model = model
        self._on_head: Callable[[bytes], object] | None = on_head
        self._on_end = on_end
        self._head = self._tail = b""
        encoding = "identity" if decoded else headers.get("content-encoding", "identity")
        # 47 accepts a gzip or a zlib header. What cannot be read tells nothing.
        self._unpack: Any = zlib.decompressobj(47) if encoding in ("gzip", "deflate") else None
        self._readable = encoding in ("identity", "gzip", "deflate")

    def chunk(self, data: bytes) -> None:
        """Keep the beginning and the end of the body."""
        if not self._readable:
            return
        if self._unpack is not None:
            try:
                data = self._unpack.decompress(data)
            except zlib.error:
                self._readable = False
                return
        if len(self._head) < _HEAD:
            self._head += data[: _HEAD - len(self._head)]
        self._tail = (self._tail + data)[-_TAIL:]
        on_head, self._on_head = self._on_head, None
        if on_head is not None:
            on_head(self._head)

    def eof(self) -> None:
        """The body is complete."""
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(
                Answer(
                    self._model,
                    self._request_id,
                    input_tokens(self._head, self._tail),
                    output_tokens(self._tail, self._head),
                )
            )

    def closed(self) -> None:
        """The caller closed the body, complete or not."""
        self.eof()

    def failed(self, error: BaseException, *, local: bool = False) -> None:
        """Reading the body raised an error."""
        self.eof()

    def __del__(self) -> None:
        self.eof()
