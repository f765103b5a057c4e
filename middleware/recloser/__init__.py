"""Adaptive circuit breakers: they learn what is normal, open when it clearly is not."""

from recloser._attempt import Attempt
from recloser._breaker import Breaker
from recloser._delivery import Delivery, Fate, Leg, Provider
from recloser._errors import BreakerOpenError, RecloserError
from recloser._events import Listener, Mode, Reason, State, Transition
from recloser._failover import Failover
from recloser._metrics import Metrics
from recloser._outcome import Outcome
from recloser._permit import Permit
from recloser._policy import Policy
from recloser._registry import Registry
from recloser._retry_after import parse_retry_after

__all__ = [
    "Attempt",
    "Breaker",
    "BreakerOpenError",
    "Delivery",
    "Failover",
    "Fate",
    "Leg",
    "Listener",
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
