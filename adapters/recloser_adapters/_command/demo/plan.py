"""The plan of a run: the upstream's phases, the routes and the load on them."""

from __future__ import annotations

from dataclasses import dataclass

HEALTHY = "healthy"
HANGING = "hanging"
FAILING = "failing"
SLOW = "slow"

# What the upstream does in each phase, as text for the screen.
PHASES = {
    HEALTHY: "it answers in about 12 ms",
    HANGING: "it takes calls and never answers",
    FAILING: "it answers 500 at once",
    SLOW: "it answers correctly, but 30 times slower",
}

# What a viewer has to know before the first outage.
INTRODUCTION = (
    "Upper half: the breakers of the app with recloser, one for each route.",
    "Lower half: what the callers of both apps get. Green: answered well. Red: wasted, "
    "by waiting or by an error. Cyan: refused at once.",
    "Soon the service behind the orders hangs, then fails, then is slow. The other two "
    "routes do not need it.",
)

GUARDED = "guarded"
BARE = "bare"
DASHBOARD = "dashboard"
ARMS = {GUARDED: "with recloser", BARE: "no breaker"}

AFFECTED = "GET /orders/{order}"
OTHER_ROUTES = ("GET /catalog/{item}", "GET /about")
ROUTES = (AFFECTED, *OTHER_ROUTES)
# One round of the load. The orders depend on the part of the upstream that becomes unhealthy, the
# catalog depends on a part that stays healthy, and the third route has no upstream.
TURN = (AFFECTED, OTHER_ROUTES[0], AFFECTED, AFFECTED, OTHER_ROUTES[0], AFFECTED, OTHER_ROUTES[1])
RATE = 70.0  # requests per second to each arm

# Seconds. A caller that waited longer was not served well, even if the answer was good.
PATIENCE = 0.25
# The page with the breakers, for `--dashboard`.
DASHBOARD_PATH = "/breakers"
# The status page of the app with breakers. No breaker guards it.
STATUS_PATH = "/demo/status"


@dataclass(frozen=True, slots=True)
class Phase:
    """A planned phase of the upstream.

    Attributes:
        name: One of `PHASES`.
        seconds: Its length, > 0.
    """

    name: str
    seconds: float

    @property
    def bad(self) -> bool:
        """Whether the upstream is unhealthy."""
        return self.name != HEALTHY


# The schedule of a run of 45 seconds. A good phase after each bad one shows the recovery. In it the
# calls that still hang in the app without a breaker can end, which takes three seconds.
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
    """Return the phases of a run of this many seconds."""
    return [Phase(phase.name, phase.seconds * seconds / SECONDS) for phase in _SCHEDULE]
