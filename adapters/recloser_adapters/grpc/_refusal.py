"""The errors of refused calls, which users of gRPC catch as what they know."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Never, Self, TypeAlias

import grpc

from recloser import BreakerOpenError, Reason, State
from recloser_adapters._outbound.refusal import ClientBreakerOpenError

if TYPE_CHECKING:
    _Future: TypeAlias = grpc.Future[Never]
else:
    _Future = grpc.Future  # generic in its stubs only


class BreakerOpenRpcError(ClientBreakerOpenError, grpc.RpcError, grpc.Call, _Future):
    """The breaker refused the call; nothing was sent.

    It is a `grpc.RpcError` with the code UNAVAILABLE, so code that handles an unreachable server
    handles it, too. Like the errors of gRPC it is also the ended call, which `.future()` and streams
    return.
    """

    def code(self) -> grpc.StatusCode:
        """UNAVAILABLE."""
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        """The sentence of the refusal."""
        return str(self)

    def debug_error_string(self) -> str:
        """The sentence of the refusal."""
        return str(self)

    def initial_metadata(self) -> tuple[()]:
        """None: nothing was sent."""
        return ()

    def trailing_metadata(self) -> tuple[()]:
        """None: nothing was sent."""
        return ()

    def is_active(self) -> bool:
        """False: it has ended."""
        return False

    def time_remaining(self) -> float:
        """0.0: it has ended."""
        return 0.0

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """False: it has ended, and the callback will not be called."""
        return False

    def cancel(self) -> bool:
        """False: it has ended."""
        return False

    def cancelled(self) -> bool:
        """False: it was refused."""
        return False

    def running(self) -> bool:
        """False: it has ended."""
        return False

    def done(self) -> bool:
        """True: it has ended."""
        return True

    def result(self, timeout: float | None = None) -> Never:
        """Raise this error."""
        raise self

    def exception(self, timeout: float | None = None) -> BreakerOpenRpcError:
        """This error."""
        return self

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        """Where it was raised."""
        return self.__traceback__

    def add_done_callback(self, fn: Callable[[grpc.Future[Never]], None]) -> None:
        """Call the function with this call, at once."""
        fn(self)

    def __iter__(self) -> BreakerOpenRpcError:
        return self

    def __next__(self) -> Never:
        raise self


class BreakerOpenAioRpcError(BreakerOpenError, grpc.aio.AioRpcError):
    """The breaker refused the call; nothing was sent.

    It is a `grpc.aio.AioRpcError` with the code UNAVAILABLE, so code that handles an unreachable
    server handles it, too.
    """

    def __init__(
        self,
        key: str,
        state: State | str = State.OPEN,
        reason: Reason | str | None = None,
        retry_after: float = 0.0,
    ) -> None:
        refusal = BreakerOpenError(key, state, reason, retry_after)
        self.key: str = refusal.key
        self.state: State = refusal.state
        self.reason: Reason | None = refusal.reason
        self.retry_after: float = refusal.retry_after
        nothing = grpc.aio.Metadata
        # Positional: the first versions have no defaults.
        grpc.aio.AioRpcError.__init__(
            self, grpc.StatusCode.UNAVAILABLE, nothing(), nothing(), str(refusal)
        )
        self.args: tuple[Any, ...] = refusal.args

    @classmethod
    def of(cls, refusal: BreakerOpenError) -> Self:
        """The same refusal, as an error of gRPC."""
        return cls(refusal.key, refusal.state, refusal.reason, refusal.retry_after)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.key, self.state, self.reason, self.retry_after)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"
