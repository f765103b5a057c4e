"""Bodies of answers that their users read: the `Body` of an object, and event streams.

They read from the response of the HTTP library below: urllib3 in botocore, aiohttp or httpx in
aiobotocore. There is no public way to it but in aiobotocore.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recloser_adapters._outbound.body import AnyBodyWatch
from recloser_adapters._urllib3.body import watch_body


def streamed(parsed: Mapping[str, Any]) -> Any:
    """The body in an answer that is read later; None if the answer is complete."""
    for member in parsed.values():
        if _raw_of(member) is not None:
            return member
    return None


def _raw_of(body: object) -> Any:
    """The response below a body. Older versions of aiobotocore wrap it; None if there is none."""
    raw: Any = getattr(body, "_raw_stream", None)
    return getattr(body, "__wrapped__", None) if raw is None else raw


def watch_streamed(body: Any, watch: AnyBodyWatch) -> bool:
    """Watch a body while it is read; return False if that is not possible."""
    raw = _raw_of(body)
    package = type(raw).__module__.partition(".")[0]
    if package == "urllib3" and hasattr(raw, "stream"):
        body._raw_stream = watch_body(raw, watch)
        return True
    if package == "aiohttp":
        # Imported here: botocore alone comes without it.
        from recloser_adapters._aiohttp.body import watch_body as watch_content

        watch_content(raw, watch)
        return True
    return False
