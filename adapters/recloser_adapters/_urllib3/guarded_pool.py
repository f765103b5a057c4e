"""A connection pool that asks a breaker before each attempt.

urllib3 repeats a request (retries, redirects) by calling `urlopen` once more, from within itself. So
each call of `urlopen` is one attempt. What it sends on goes through `_make_request`, which is handed
everything that `urlopen` does not know by name. That is how an attempt finds its permit there, on
any thread. `_make_request` is not public. Without it an attempt still ends: with what `urlopen`
returns or raises, or as the next attempt begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import urllib3

from recloser import Refused, Unguarded
from recloser_adapters._outbound.permit import WatchingPermit
from recloser_adapters._urllib3.attempt import Attempt, Calls, Response
from recloser_adapters._urllib3.pool_request import PoolRequest

# The keyword argument by which an attempt gets from `urlopen` to `_make_request`.
_ATTEMPT = "recloser_attempt"
_UNSET: Any = object()


class GuardedPool(urllib3.HTTPConnectionPool):
    """What a guarded pool has beside its own class. List this class first as a base."""

    recloser_outbound: ClassVar[Calls]

    def urlopen(  # type: ignore[override]  # the same arguments, some of them not by name
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        retries: Any = None,
        redirect: bool = True,
        assert_same_host: bool = True,
        timeout: Any = _UNSET,
        *rest: Any,
        **options: Any,
    ) -> Response:
        """Send a request if its breaker admits it."""
        if timeout is _UNSET:
            timeout = self.timeout
        previous: tuple[Attempt, Any] | None = options.pop(_ATTEMPT, None)
        if previous is not None:
            # If it has not ended, it did not come to `_make_request`: a proxy has failed.
            history = getattr(retries, "history", None)
            previous[0].failed(history[-1].error if history else None)
            timeout = previous[1]
        outbound = self.recloser_outbound
        request = PoolRequest(self, method, url, body, self.headers if headers is None else headers)
        permit = outbound.admit(request, WatchingPermit)
        if isinstance(permit, Refused):
            response = outbound.answer_refusal(request, permit.error())
            if getattr(response, "recloser_refused", False):
                response.retries = retries if isinstance(retries, urllib3.Retry) else None
            return response
        args = (method, url, body, headers, retries, redirect, assert_same_host)
        if isinstance(permit, Unguarded):
            return super().urlopen(*args, timeout, *rest, **options)
        limit = permit.timeout if outbound.cut_off else None
        # The default of urllib3 is an object of its own.
        known = timeout is None or isinstance(timeout, (int, float, urllib3.Timeout))
        attempt = Attempt(outbound, permit, request, timeout if known else self.timeout, limit)
        options[_ATTEMPT] = attempt, timeout
        try:
            response = super().urlopen(*args, attempt.timeout, *rest, **options)
        except BaseException as error:
            attempt.failed(error)
            raise
        watched: Response = attempt.answered(response)
        return watched

    def _make_request(self, *args: Any, **options: Any) -> Response:
        found: tuple[Attempt, Any] | None = options.pop(_ATTEMPT, None)
        if found is None:
            return super()._make_request(*args, **options)
        attempt = found[0]
        # The body is read here, and not by the response as it is made: else the watch would come late.
        preloads = options.get("preload_content", True)
        options["preload_content"] = False
        try:
            response = super()._make_request(*args, **options)
        except BaseException as error:
            attempt.failed(error)
            if attempt.is_cut_off(error) and isinstance(error, Exception):
                self._end(options.get("retries"), args, error)
            raise
        watched: Response = attempt.answered(response)
        if not preloads:
            return watched
        watched.read(cache_content=True)
        return response

    def _end(self, retries: Any, args: tuple[Any, ...], error: Exception) -> None:
        """Raise what urllib3 raises when it gives up, if it would send the request again."""
        if isinstance(retries, urllib3.Retry) and retries.total is not False:
            url = str(args[2]) if len(args) > 2 else ""
            raise urllib3.exceptions.MaxRetryError(self, url, error) from error


def guarded_kind(kind: type[Any], outbound: Calls) -> type[Any]:
    """A class of pools like `kind` whose requests are guarded; `kind` itself if they are already."""
    if issubclass(kind, GuardedPool):
        return kind
    named = {name: getattr(kind, name) for name in ("__doc__", "__module__", "__qualname__")}
    return type(kind.__name__, (GuardedPool, kind), {**named, "recloser_outbound": outbound})
