"""The pytest plugin: isolation, transitions, and that it is not noticed by those who do not use it."""

from __future__ import annotations

from textwrap import dedent

import pytest
from tests.support.plugin_runs import INSTALLED, LOADED, failure, passed, run, run_apart

pytest_plugins = ["pytester"]


def test_each_test_has_a_registry_and_a_clock_of_its_own(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
        import pytest
        from recloser.testing import open_breaker

        @pytest.mark.parametrize("again", [1, 2])
        def test_it(again, recloser_registry, recloser_clock):
            assert len(recloser_registry) == 0
            assert recloser_clock() == 1000.0
            breaker = recloser_registry["payments"]
            breaker.open(for_=10)
            assert breaker.retry_after == 10.0
            recloser_clock.advance(10)
            assert breaker.retry_after == 0.0
        """,
        tests=2,
    )


def test_an_opened_key_refuses_and_is_closed_in_the_next_test(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
        import pytest
        from recloser import BreakerOpenError, Policy, Registry

        breakers = Registry()

        @breakers["payments"]
        def charge():
            return "charged"

        @pytest.fixture
        def recloser_registry():
            return breakers

        @pytest.mark.parametrize("again", [1, 2])
        def test_it(again, force_open):
            assert charge() == "charged"
            assert force_open("payments") is breakers["payments"]
            breakers.mode = "enforce"
            with pytest.raises(BreakerOpenError, match="opened by a test"):
                charge()

        def test_what_was_trained_and_the_settings_are_gone_too(recloser_transitions):
            breakers.mode = "observe"
            breakers.enforce_share = 0.5
            breakers.policy = Policy(min_failures=2)
            breakers["payments"].policy = Policy(min_failures=3)
            for _ in range(40):
                breakers["payments"].record(0.1, success=True)
            assert breakers["payments"].knows_latency
            breakers["payments"].override("disabled")

        def test_so_nothing_is_left():
            for each in (breakers, breakers["payments"]):
                assert each.mode.value == "enforce"
                assert each.enforce_share == 1.0
                assert each.policy == Policy()
            assert not breakers["payments"].knows_latency
            assert breakers["payments"].state.value == "closed"
            assert breakers["payments"].overrides == ()
        """,
        tests=4,
    )


def test_a_test_that_fails_leaves_nothing_either(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest
        from recloser import Registry

        breakers = Registry()
        breakers["payments"]

        @pytest.fixture
        def recloser_registry():
            return breakers

        def test_one(force_open):
            force_open("payments")
            raise ValueError

        def test_two():
            assert breakers["payments"].state.value == "closed"
        """,
    )

    result.assert_outcomes(passed=1, failed=1)


def test_a_key_that_is_none_fails_the_test_and_names_close_ones(pytester: pytest.Pytester) -> None:
    said = failure(
        pytester,
        """
        def test_it(recloser_registry, force_open):
            recloser_registry["payments"]
            recloser_registry["search"]
            force_open("Payment")
        """,
    )

    assert (
        "force_open: no route and no breaker has the key 'Payment'; did you mean 'payments'?"
        in said
    )
    assert "There are: 'payments', 'search'" in said
    assert "must_exist=False" in said
    # The line of the test is shown, not ours.
    assert '>       force_open("Payment")' in said
    assert "force_open.py" not in said


def test_the_message_for_many_keys_is_short(pytester: pytest.Pytester) -> None:
    said = failure(
        pytester,
        """
        def test_it(recloser_registry, force_open):
            for number in range(500):
                recloser_registry[f"GET /{number}"]
            force_open("nothing of this")
        """,
    )

    assert "and 480 more" in said
    assert "did you mean" not in said


def test_a_key_that_its_first_call_makes_can_be_opened_before(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
        def test_it(recloser_registry, recloser_clock, force_open):
            breaker = force_open("api.example", must_exist=False, for_=5)
            assert breaker is recloser_registry["api.example"]
            assert breaker.try_acquire() is None
            recloser_clock.advance(5)
            assert breaker.try_acquire() is not None
        """,
    )


def test_what_is_disabled_cannot_be_opened(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECLOSER_ENABLED", "0")
    said = failure(
        pytester,
        """
        def test_it(force_open):
            force_open("payments", must_exist=False)
        """,
    )

    assert "the breaker of 'payments' is disabled, so it refuses nothing" in said
    assert "RECLOSER_ENABLED" in said


def test_it_says_if_there_is_nothing_to_look_in(pytester: pytest.Pytester) -> None:
    said = failure(
        pytester,
        """
        def test_it(force_open):
            force_open("payments", within=object())
        """,
    )

    assert "force_open: no app with breakers, and no registry" in said


# Transitions


def test_transitions_are_those_of_this_test(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
        import pytest

        @pytest.mark.parametrize("again", [1, 2])
        def test_it(again, recloser_registry, recloser_transitions):
            assert not recloser_transitions
            recloser_transitions.expect("payments")
            breaker = recloser_registry["payments"]
            breaker.open("maintenance")
            breaker.half_open()
            breaker.reset()
            recloser_transitions.expect("payments", "open", "half_open", "closed")
            assert recloser_transitions.of("payments") == ["open", "half_open", "closed"]
            assert recloser_transitions[0].reason.rule == "manual"
            assert [each.key for each in recloser_transitions[1:]] == ["payments"] * 2
            recloser_transitions.clear()
            assert len(recloser_transitions) == 0
        """,
        tests=2,
    )


def test_what_was_not_expected_is_shown_whole(pytester: pytest.Pytester) -> None:
    said = failure(
        pytester,
        """
        def test_it(recloser_registry, recloser_transitions):
            recloser_registry["payments"].open("maintenance")
            recloser_transitions.expect("payments", "open", "closed")
        """,
    )

    assert "'payments' was expected to become open, then closed, but became open" in said
    assert "'payments' closed -> open: by hand: 'maintenance'" in said
    assert "transitions.py" not in said


def test_a_key_or_a_state_with_a_typo_in_it_is_told(pytester: pytest.Pytester) -> None:
    said = failure(
        pytester,
        """
        def test_it(recloser_registry, recloser_transitions):
            recloser_registry["payments"].open()
            recloser_transitions.expect("payment", "open")
        """,
    )
    assert "but became nothing else; did you mean 'payments'?" in said
    said = failure(
        pytester,
        """
        def test_it(recloser_transitions):
            recloser_transitions.expect("payments", "half-open")
        """,
    )
    assert "a state must be one of closed, limited, open, half_open, not 'half-open'" in said


# Those who do not use it


def test_nothing_is_imported_for_a_test_that_does_not_use_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it():
            ours = {name for name in sys.modules if name.split(".")[0].startswith("recloser")}
            assert ours == {"recloser_adapters", "recloser_adapters.pytest"}
            assert not {"flask", "starlette", "werkzeug"} & set(sys.modules)
        """
    )

    run_apart(pytester, monkeypatch, *LOADED).assert_outcomes(passed=1)


def test_it_adds_fixtures_and_nothing_else(pytester: pytest.Pytester) -> None:
    import recloser_adapters.pytest as plugin

    hooks = [name for name in vars(plugin) if name.startswith("pytest_")]

    assert hooks == []
    result = pytester.runpytest_inprocess(*LOADED, "--fixtures", "-p", "no:cacheprovider")
    for name in plugin.__all__:
        result.stdout.fnmatch_lines([f"{name} -- *"])


def test_fixtures_of_the_same_name_win(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
        import pytest

        @pytest.fixture
        def force_open():
            return "mine"

        def test_it(force_open):
            assert force_open == "mine"
        """,
    )


@pytest.mark.skipif(not INSTALLED, reason="needs recloser to be installed: its entry point")
def test_it_can_be_switched_off(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_without():
            assert "recloser_adapters.pytest" not in sys.modules

        def test_with(force_open):
            pass
        """
    )

    result = run_apart(pytester, monkeypatch, "-p", "no:recloser")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*fixture 'force_open' not found*"])


def test_what_users_paste_from_its_docstring_runs(pytester: pytest.Pytester) -> None:
    pytest.importorskip("starlette.testclient")
    import recloser_adapters.pytest as plugin

    assert plugin.__doc__
    paragraphs = plugin.__doc__.split("\n\n")
    example = dedent("\n\n".join(part for part in paragraphs if part.startswith("    ")))
    app = """
        import pytest
        from starlette.applications import Starlette
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route
        from starlette.testclient import TestClient
        from recloser_adapters.starlette import BreakerMiddleware

        @pytest.fixture
        def client():
            app = Starlette(routes=[Route("/orders/{order}", lambda _: PlainTextResponse("x"))])
            app.add_middleware(BreakerMiddleware)
            with TestClient(app) as client:
                yield client
        """

    passed(pytester, f"{dedent(app)}\n{example}")
