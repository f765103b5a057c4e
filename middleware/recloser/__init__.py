"""Adaptive circuit breakers: they learn what is normal, and open when calls clearly are not.

PYTEST_DONT_REWRITE: pytest, which loads a plugin from the same distribution, would warn in a process
that has imported recloser before.
"""

from typing import TYPE_CHECKING

from recloser._admission import UNGUARDED, Injected, Refused, Unguarded
from recloser._breaker import Breaker
from recloser._callers import calling_for
from recloser._circuit.kinds import LONG_POLL
from recloser._errors import BreakerOpenError, HopelessError, RecloserError
from recloser._events import BadCall, Reason, Transition
from recloser._hooks import (
    AnyListener,
    CallEnd,
    CallListener,
    Listener,
    OverrideListener,
    Refusal,
    RefusalListener,
)
from recloser._outcome import Outcome
from recloser._overrides import Override
from recloser._permit import LoosePermit, Permit
from recloser._policy import Policy
from recloser._registry import Registry
from recloser._state import Mode, State

__all__ = [
    "LONG_POLL",
    "UNGUARDED",
    "Answer",
    "AnyListener",
    "Asked",
    "AsyncChunks",
    "Attempt",
    "AttemptWatch",
    "BadCall",
    "Breaker",
    "BreakerOpenError",
    "CallEnd",
    "CallListener",
    "CallOptions",
    "Chunks",
    "Deadline",
    "Delivery",
    "Failover",
    "Fate",
    "Hedging",
    "HopelessError",
    "Injected",
    "Leg",
    "Listener",
    "LoosePermit",
    "Metrics",
    "Mode",
    "Outcome",
    "Override",
    "OverrideListener",
    "Permit",
    "Pieces",
    "Policy",
    "Provider",
    "Reason",
    "RecloserError",
    "Refusal",
    "RefusalListener",
    "Refused",
    "Registry",
    "State",
    "Transition",
    "Unguarded",
    "asked_in_body",
    "calling_for",
    "parse_duration",
    "parse_retry_after",
    "problem_document",
]

if TYPE_CHECKING:
    from recloser._asked_in_body import Asked, asked_in_body
    from recloser._deadline import Deadline
    from recloser._duration import parse_duration
    from recloser._failover.attempt import Attempt
    from recloser._failover.call import CallOptions
    from recloser._failover.failover import Failover
    from recloser._failover.hedge_budget import Hedging
    from recloser._failover.provider import Provider
    from recloser._failover.report import Answer, AttemptWatch, Delivery, Fate, Leg
    from recloser._failover.streams import AsyncChunks, Chunks
    from recloser._metrics import Metrics
    from recloser._pieces import Pieces
    from recloser._problem import problem_document
    from recloser._retry_after import parse_retry_after
else:
    # Imported on first use (PEP 562): a breaker works without them, and they take nearly half of
    # the import time of our own modules.
    _LATER = {
        "Answer": "recloser._failover.report",
        "Asked": "recloser._asked_in_body",
        "AsyncChunks": "recloser._failover.streams",
        "Attempt": "recloser._failover.attempt",
        "AttemptWatch": "recloser._failover.report",
        "CallOptions": "recloser._failover.call",
        "Chunks": "recloser._failover.streams",
        "Deadline": "recloser._deadline",
        "Delivery": "recloser._failover.report",
        "Failover": "recloser._failover.failover",
        "Fate": "recloser._failover.report",
        "Hedging": "recloser._failover.hedge_budget",
        "Leg": "recloser._failover.report",
        "Metrics": "recloser._metrics",
        "Pieces": "recloser._pieces",
        "Provider": "recloser._failover.provider",
        "asked_in_body": "recloser._asked_in_body",
        "parse_duration": "recloser._duration",
        "parse_retry_after": "recloser._retry_after",
        "problem_document": "recloser._problem",
    }

    def __getattr__(name):
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(_LATER[name]), name)
        return value

    def __dir__():
        return globals().keys() | __all__
