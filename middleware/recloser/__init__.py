"""Adaptive circuit breakers: they learn what is normal, open when it clearly is not."""

from typing import TYPE_CHECKING

from recloser._breaker import Breaker
from recloser._errors import BreakerOpenError, RecloserError
from recloser._events import Listener, Mode, Reason, State, Transition
from recloser._outcome import Outcome
from recloser._permit import LoosePermit, Permit
from recloser._policy import Policy
from recloser._registry import Registry

__all__ = [
    "Attempt",
    "Breaker",
    "BreakerOpenError",
    "Delivery",
    "Failover",
    "Fate",
    "Leg",
    "Listener",
    "LoosePermit",
    "Metrics",
    "Mode",
    "Outcome",
    "Permit",
    "Policy",
    "Provider",
    "Reason",
    "RecloserError",
    "Registry",
    "State",
    "Transition",
    "parse_retry_after",
]

if TYPE_CHECKING:
    from recloser._attempt import Attempt
    from recloser._delivery import Delivery, Fate, Leg, Provider
    from recloser._failover import Failover
    from recloser._metrics import Metrics
    from recloser._retry_after import parse_retry_after
else:
    # Imported on first use (PEP 562): a breaker works without them, and they are nearly half of what
    # our own modules cost at import.
    _LATER = {
        "Attempt": "recloser._attempt",
        "Delivery": "recloser._delivery",
        "Failover": "recloser._failover",
        "Fate": "recloser._delivery",
        "Leg": "recloser._delivery",
        "Metrics": "recloser._metrics",
        "Provider": "recloser._delivery",
        "parse_retry_after": "recloser._retry_after",
    }

    def __getattr__(name):
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(_LATER[name]), name)
        return value

    def __dir__():
        return globals().keys() | __all__
