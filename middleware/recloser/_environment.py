"""What the environment says: `RECLOSER_MODE` and `RECLOSER_ENABLED` limit what breakers may do.

They are for whoever runs a program and cannot, or does not want to, change its code. So they reach
every breaker of the process, of middlewares, clients and functions alike. They are read when a
registry, a breaker without one or a middleware is made, and when a mode is set. The more lenient of
the variables and the code wins: what is switched off from outside stays off.
"""

from __future__ import annotations

import os

from recloser._state import Mode
from recloser.hints import meant

_NAMES = ("RECLOSER_MODE", "RECLOSER_ENABLED", "RECLOSER_CHAOS")
# So close is RECLOSER_DISABLED, but not RECLOSER_PORT, which Kubernetes sets for a service.
_NEARLY = 0.84
_ON = frozenset({"", "1", "true", "yes", "on"})
_OFF = frozenset({"0", "false", "no", "off"})
_BY_LENIENCY = (Mode.ENFORCE, Mode.OBSERVE, Mode.DISABLED)


def strictest() -> Mode:
    """The strictest mode that the environment allows.

    `RECLOSER_MODE` names it; without it, it is enforce. `RECLOSER_ENABLED=0` has the same effect as
    `RECLOSER_MODE=disabled`.

    Raises:
        ValueError: A variable has a value that it cannot have. To ignore that would mean to refuse
            calls where somebody wanted none to be refused.
    """
    _check_names()
    said = os.environ.get("RECLOSER_ENABLED", "").strip().lower()
    if said in _OFF:
        return Mode.DISABLED
    if said not in _ON:
        known = ", ".join(sorted(filter(None, _ON | _OFF)))
        raise ValueError(f"RECLOSER_ENABLED must be one of {known}, not {said!r}")
    said = os.environ.get("RECLOSER_MODE", "").strip().lower()
    try:
        return Mode(said) if said else Mode.ENFORCE
    except ValueError:
        known = ", ".join(mode.value for mode in _BY_LENIENCY)
        raise ValueError(
            f"RECLOSER_MODE must be one of {known}, not {said!r}{meant(said, known.split(', '))}"
        ) from None


def _check_names() -> None:
    """Refuse a name that is nearly one of ours: what it says would have no effect."""
    for name in os.environ:
        if name.startswith("RECLOSER_") and name not in _NAMES:
            hint = meant(name, _NAMES, at_least=_NEARLY)
            if hint:
                raise ValueError(f"the environment has {name}, which means nothing{hint}")


def allowed(mode: Mode | str, at_most: Mode = Mode.ENFORCE) -> Mode:
    """A mode, or the strictest that the environment and `at_most` allow if that is more lenient.

    Raises:
        ValueError: The mode is unknown, or a variable has a value that it cannot have.
    """
    return max(Mode(mode), strictest(), at_most, key=_BY_LENIENCY.index)


def enabled() -> bool:
    """Whether the environment allows breakers to do anything.

    Raises:
        ValueError: A variable has a value that it cannot have.
    """
    return strictest() is not Mode.DISABLED
