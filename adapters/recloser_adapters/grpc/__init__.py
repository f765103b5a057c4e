"""Breakers for gRPC clients (grpcio 1.62 and later), synchronous and `grpc.aio`.

    target = "orders:50051"
    channel = grpc.intercept_channel(grpc.insecure_channel(target), BreakerInterceptor(target, registry))

    channel = grpc.aio.insecure_channel(target, interceptors=aio_interceptors(target, registry))

All four kinds of calls are guarded, `.future()` too. A call is one RPC, and ends with its status.

UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL, UNKNOWN and DATA_LOSS are failures. RESOURCE_EXHAUSTED asks
for a pause; how long it is, the server says in `RetryInfo` or `grpc-retry-pushback-ms`. With any other
status the server has answered. What this side cancels has no vote, and neither has a message that this
side could not serialize, or that is too large to be sent.

The latency of a stream is the time to its first message, so a long stream is not slow. One that breaks
is a failure. A call with a stream in both directions is judged by its end only.
"""

from __future__ import annotations

from recloser_adapters.grpc._aio import aio_interceptors
from recloser_adapters.grpc._calls import CallInfo, CallSettings, by_method, by_service, by_target
from recloser_adapters.grpc._client import BreakerInterceptor
from recloser_adapters.grpc._refusal import BreakerOpenAioRpcError, BreakerOpenRpcError

__all__ = [
    "BreakerInterceptor",
    "BreakerOpenAioRpcError",
    "BreakerOpenRpcError",
    "CallInfo",
    "CallSettings",
    "aio_interceptors",
    "by_method",
    "by_service",
    "by_target",
]
