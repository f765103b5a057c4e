"""What the end of an attempt teaches."""

from __future__ import annotations

from recloser import Outcome, Provider, Registry
from recloser._failover.call import Call
from recloser._failover.failover import Failover
from recloser._failover.lessons import learn_from_end, learn_from_service
from recloser._failover.memory import Memory
from recloser._failover.selection import Selection
from recloser.testing import ManualClock


def selection(registry: Registry, **call: str) -> Selection[str]:
    providers = [Provider("a", ""), Provider("b", "")]
    settings = Failover(registry, providers)._settings
    return Selection(settings, Memory(), providers, None, Call(repeatable=True, model="m"))


def end(asked: Selection[str], outcome: Outcome, **changed: object) -> None:
    asked.choose()
    assert asked.chosen is not None
    provider, permit, _ = asked.chosen
    said: dict[str, object] = {"sent": True, "answered": False, "limit": 0.0, **changed}
    learn_from_end(asked, provider.key, permit, outcome, **said)  # type: ignore[arg-type]


def test_a_provider_out_of_reach_is_counted_for_all_its_models(registry: Registry) -> None:
    asked = selection(registry)

    end(asked, Outcome.FAILURE, sent=False)

    assert asked.memory.unreached == {"a"}
    assert registry["a"].metrics().failures == 1


def test_a_mistake_on_this_side_is_not(registry: Registry) -> None:
    asked = selection(registry)

    end(asked, Outcome.IGNORED, sent=False)

    assert not asked.memory.unreached


def test_a_failure_at_its_limit_was_cut_off(registry: Registry, clock: ManualClock) -> None:
    asked = selection(registry)
    asked.choose()
    assert asked.chosen is not None
    provider, permit, _ = asked.chosen
    clock.advance(3.0)

    learn_from_end(
        asked, provider.key, permit, Outcome.FAILURE, sent=True, answered=False, limit=3.0
    )

    assert asked.cut_off == [("a m", 3.0)]


def test_a_service_is_remembered(registry: Registry, clock: ManualClock) -> None:
    asked = selection(registry)
    asked.memory.reject("a", "m", clock())
    asked.memory.unreached.add("a")
    asked.choose()
    assert asked.chosen is not None
    provider, permit, _ = asked.chosen

    learn_from_service(asked, "a", permit)

    assert provider.key == "b"  # the other one was rejected before
    assert not asked.memory.is_rejected("a", "m", clock())
    assert not asked.memory.unreached
    assert registry["a"].metrics().successes == 1
