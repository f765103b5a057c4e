"""OpenTelemetry: instruments, and what breakers do in the traces of the calls.

    from recloser_adapters.opentelemetry import instrument, trace_attempts

    instrument(registry)
    failover = Failover(registry, providers, on_attempt=trace_attempts())

It needs the API only. Where no SDK is set up, nothing is recorded and hardly anything is spent.
There is no semantic convention for breakers yet, so the names begin with `recloser.`.
"""

from recloser_adapters.opentelemetry._attempts import trace_attempts
from recloser_adapters.opentelemetry._instrument import Instrumentation, instrument

__all__ = ["Instrumentation", "instrument", "trace_attempts"]
