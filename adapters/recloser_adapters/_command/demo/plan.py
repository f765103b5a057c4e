"""What will happen: the upstream's phases, the routes and the load on them."""

from __future__ import annotations

from dataclasses import dataclass

HEALTHY = "healthy"
HANGING = "hanging"
FAILING = "failing"
SLOW = "slow"

# What the upstream does in a phase, in words for the screen.
PHASES = {
    HEALTHY: "it answers within some 12 ms",
    HANGING: "it takes calls and never answers",
    FAILING: "it answers 500 at once",
    SLOW: "it answers correctly, but 30 times slower than it used to",
}

GUARDED = "guarded"
BARE = "bare"
ARMS = {GUARDED: "with recloser", BARE: "no breaker"}

SICK = "GET /orders/{order}"
NEIGHBOURS = ("GET /catalog/{item}", "GET /about")
ROUTES = (SICK, *NEIGHBOURS)
# One turn of the load. The orders depend on the part of the upstream that falls ill, the catalog
# on a part that stays well, and the third route on nothing.
TURN = (SICK, NEIGHBOURS[0], SICK, SICK, NEIGHBOURS[0], SICK, NEIGHBOURS[1])
RATE = 70.0  # requests per second to each arm

# A caller who waited longer was not served well, whatever came in the end.
PATIENCE = 0.25
# Where both apps tell what they know of themselves; exempt from breaking.
STATUS_PATH = "/demo/status"


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the upstream's life.

    Attributes:
        name: One of `PHASES`.
        seconds: How long it lasts.
    """

    name: str
    seconds: float

    @property
    def bad(self) -> bool:
        """Whether the upstream is ill."""
        return self.name != HEALTHY


# In seconds, of a show of 45. A good stretch after each bad one shows the recovery, and lets the
# app without a breaker get over the calls that still hang in it for three seconds.
_SCHEDULE = (
    Phase(HEALTHY, 7.0),
    Phase(HANGING, 7.0),
    Phase(HEALTHY, 6.5),
    Phase(FAILING, 5.5),
    Phase(HEALTHY, 6.0),
    Phase(SLOW, 6.5),
    Phase(HEALTHY, 6.5),
)
SECONDS = sum(phase.seconds for phase in _SCHEDULE)


def schedule(seconds: float = SECONDS) -> list[Phase]:
    """Return the phases of a show of so many seconds."""
    return [Phase(phase.name, phase.seconds * seconds / SECONDS) for phase in _SCHEDULE]
