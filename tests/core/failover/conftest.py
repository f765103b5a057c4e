"""Each of the four ways to call through a failover."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.support.failover_fleet import Invoke, Run, Send

from recloser import Failover


@pytest.fixture(params=["call", "acall", "stream", "astream"])
def invoke(request: pytest.FixtureRequest, run: Run) -> Invoke:
    """One call by each of the four methods; of a stream, the only chunk is the answer."""

    def call(failover: Failover[Any], send: Send, **options: Any) -> Any:
        return failover.call(send, **options)

    def acall(failover: Failover[Any], send: Send, **options: Any) -> Any:
        async def asend(attempt: Any) -> Any:
            return send(attempt)

        return run(failover.acall(asend, **options))

    def stream(failover: Failover[Any], send: Send, **options: Any) -> Any:
        def opened(attempt: Any) -> Iterator[Any]:
            yield send(attempt)

        (answer,) = failover.stream(opened, **options)
        return answer

    def astream(failover: Failover[Any], send: Send, **options: Any) -> Any:
        async def opened(attempt: Any) -> AsyncIterator[Any]:
            yield send(attempt)

        async def collected() -> Any:
            (answer,) = [chunk async for chunk in await failover.astream(opened, **options)]
            return answer

        return run(collected())

    return {"call": call, "acall": acall, "stream": stream, "astream": astream}[request.param]
