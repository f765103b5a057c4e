"""Adaptive circuit breakers: they learn what is normal, open when it clearly is not."""

from recloser._breaker import Breaker, Permit
from recloser._errors import BreakerOpenError, RecloserError
from recloser._events import Listener, Mode, Reason, State, Transition
from recloser._metrics import Metrics
from recloser._outcome import Outcome
from recloser._policy import Policy
from recloser._registry import Registry

__all__ = [
    "Breaker",
    "BreakerOpenError",
    "Listener",
    "Metrics",
    "Mode",
    "Outcome",
    "Permit",
    "Policy",
    "Reason",
    "RecloserError",
    "Registry",
    "State",
    "Transition",
]
