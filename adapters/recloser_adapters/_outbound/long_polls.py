"""Long polls: requests that ask the callee to wait until something happens.

How long such a request takes says nothing about the callee. It is known by what it asks for: a time in
the query (Telegram, Consul, etcd, Matrix, SQS and many others), or the last segment of a POST's path.
"""

from __future__ import annotations

import re

TAILS = frozenset(
    {"getUpdates", "getupdates", "poll", "longpoll", "long-poll", "long_poll", "longPolling"}
)
"""The last segments of the paths of POST requests that are long polls."""
# A parameter with a time that is not zero, or one that is true.
_WAITS = re.compile(
    r"(?:^|&)(?:timeout|timeout_?ms|wait|wait_?(?:for|time|ms|seconds|timeout)|max_?wait|block"
    r"|wait_?time_?seconds|poll_?timeout|(?:long_?)?poll(?:ing)?)"
    r"=(?!0+(?:\.0*)?[a-z]{0,2}(?:&|$)|false|no(?:&|$)|off|none)[^&]",
    re.IGNORECASE,
)


def waits(query: str) -> bool:
    """Whether a query asks the callee to wait."""
    return _WAITS.search(query) is not None
