"""One attempt to send a request: what comes of it ends its permit, once."""

from __future__ import annotations

from http.client import HTTPException
from typing import Any

import urllib3

from recloser import Outcome
from recloser_adapters._outbound.body import AnyBodyWatch
from recloser_adapters._outbound.call import OutboundCalls
from recloser_adapters._outbound.good_answers import is_plain
from recloser_adapters._outbound.permit import CallPermit, WatchingPermit
from recloser_adapters._urllib3.body import is_local, watch_body
from recloser_adapters._urllib3.cut_off import lower_timeout, restore_timeout
from recloser_adapters._urllib3.pool_request import PoolRequest

Response = urllib3.BaseHTTPResponse
Calls = OutboundCalls[PoolRequest, Response]

_LOCAL = (
    urllib3.exceptions.LocationValueError,
    urllib3.exceptions.HostChangedError,
    urllib3.exceptions.UnrewindableBodyError,
    urllib3.exceptions.TimeoutStateError,
    urllib3.exceptions.BodyNotHttplibCompatible,
)
_WIRE = (urllib3.exceptions.HTTPError, HTTPException, OSError)


class Attempt:
    """One attempt.

    Args:
        outbound: Decides the outcome.
        permit: The permit of the attempt.
        request: What is sent.
        timeout: The time-out as the caller gave it: that of the body.
        limit: Seconds after which an answer is hopeless, if the attempt is cut off then; else None.

    Attributes:
        timeout: The time-out that holds until the headers have arrived.
    """

    def __init__(
        self,
        outbound: Calls,
        permit: CallPermit,
        request: PoolRequest,
        timeout: Any,
        limit: float | None,
    ) -> None:
        self.timeout: Any = timeout if limit is None else lower_timeout(timeout, limit)
        self._outbound = outbound
        self._permit = permit
        self._request = request
        self._own_timeout = timeout
        self._limit = limit
        self._is_over = False

    def is_cut_off(self, error: BaseException) -> bool:
        """Whether an error is the time-out that we lowered, so that nothing is sent again."""
        if self._limit is None or not isinstance(error, urllib3.exceptions.TimeoutError):
            return False
        own = self._own_timeout
        limits = (own.total, own._read) if isinstance(own, urllib3.Timeout) else (own,)
        return all(not isinstance(each, (int, float)) or each > self._limit for each in limits)

    def answered(self, response: Response) -> Any:
        """Take an answer whose headers have arrived; return it, watched if its body matters."""
        if self._is_over:
            return response
        self._is_over = True
        if self.timeout is not self._own_timeout:
            restore_timeout(response, self._own_timeout)
        outbound = self._outbound
        try:
            watch = self._watch(response)
            if watch is None:
                return response
            if watch.cuts_off:
                limit = lower_timeout(self._own_timeout, watch.longest_wait)
                restore_timeout(response, limit)
            return watch_body(response, watch)
        except Exception as fault:
            outbound.registry.fault("outbound outcome", fault)
            return response

    def _watch(self, response: Response) -> AnyBodyWatch | None:
        outbound, permit, request = self._outbound, self._permit, self._request
        headers, status = response.headers, response.status
        content_type = headers.get("content-type", "")
        if (
            isinstance(permit, WatchingPermit)
            and status in outbound.good_statuses
            and is_plain(content_type)
            and (request.method != "POST" or not outbound.looks_into(request))
            and status != 101
        ):
            # The usual case. `watch_answer` decides the same, but takes longer.
            permit.mark()
            return permit
        return outbound.watch_answer(permit, response, status, headers, content_type, request)

    def failed(self, error: BaseException | None) -> None:
        """The attempt has raised an error; None if it is unknown which."""
        if self._is_over:
            return
        self._is_over = True
        if error is None:
            self._permit.end(Outcome.IGNORED)
            return
        body = self._request.body
        local = isinstance(error, Exception) and (
            isinstance(error, _LOCAL)
            or is_local(error)
            # If user code makes the request body, its errors come out of the attempt.
            or (not isinstance(error, _WIRE) and not isinstance(body, (str, bytes, type(None))))
        )
        self._outbound.end_by_error(self._permit, error, local=local, request=self._request)
