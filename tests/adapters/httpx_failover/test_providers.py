"""Failover transports: which provider a request goes to, when all are open, and mistakes in the set-up."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.httpx_failover_client import Run, World

from recloser import BreakerOpenError, State
from recloser.testing import open_breaker

# Where a request goes


def test_a_request_goes_to_the_first_provider_under_its_base_url(world: World) -> None:
    response = world.request("GET", "http://failover/users/7?q=a%20b", headers={"x-mine": "1"})

    (sent,) = world.received["a"]
    assert str(sent.url) == "https://a.example/api/users/7?q=a%20b"
    assert sent.headers["host"] == "a.example"
    assert sent.headers["x-mine"] == "1"
    assert response.text == "a"
    assert response.extensions[world.adapter.PROVIDER] == "a"
    assert world.registry["a"].metrics().successes == 1


def test_a_request_to_any_of_the_base_urls_goes_to_whoever_can(world: World) -> None:
    open_breaker(world.registry["a"])

    assert world.request("GET", "https://a.example/api/v1?x=1").text == "b"
    assert str(world.received["b"][0].url) == "https://b.example/v1?x=1"
    world.request("GET", "https://a.example:443/api")
    assert str(world.received["b"][1].url) == "https://b.example/"


def test_a_transport_tells_paths_apart_and_forgets_old_ones(world: World, run: Run) -> None:
    transport = world.transport()

    async def asend(path: str) -> None:
        await transport.handle_async_request(world.lib.Request("GET", f"http://failover{path}"))

    for number in range(600):
        path = f"/users/{number}"
        if world.asynchronous:
            run(asend(path))
        else:
            transport.handle_request(world.lib.Request("GET", f"http://failover{path}"))
        assert str(world.received["a"][-1].url) == f"https://a.example/api{path}"

    assert len(transport.planner._urls) <= 256


def test_of_base_urls_within_each_other_the_longer_counts(world: World) -> None:
    world.targets = {"a": "https://x.example/api", "b": "https://x.example/api/v2"}

    world.request("GET", "https://x.example/api/v2/users")

    assert str(world.received["x"][0].url) == "https://x.example/api/users"


@pytest.mark.parametrize("url", ["https://other.example/x", "https://a.example/apis/x"])
def test_a_request_to_elsewhere_is_an_error_that_says_what_to_write(world: World, url: str) -> None:
    """A client without the base URL would get round the failover, and nobody would notice."""
    with pytest.raises(ValueError, match=r"base_url='http://failover'.*pass_others=True"):
        world.request("GET", url)

    assert not world.counts


@pytest.mark.parametrize("url", ["https://other.example/x", "https://a.example/apis/x"])
def test_or_it_passes_as_it_is_and_unguarded_where_that_is_wanted(world: World, url: str) -> None:
    world.options["pass_others"] = True
    world.request("GET", url)

    assert sum(world.counts.values()) == 1
    assert str(next(iter(world.received.values()))[0].url) == url
    assert not world.deliveries


def test_a_redirect_to_elsewhere_passes(world: World) -> None:
    world.answers["a"] = world.status(307, location="https://files.example/x")

    assert world.request("GET", follow_redirects=True).text == "files"


def test_the_clients_own_request_is_left_as_it_was(world: World) -> None:
    response = world.request("GET", "http://failover/x")

    assert str(response.request.url) == "http://failover/x"
    assert response.request.extensions["timeout"]["read"] == 5.0


# All open


def test_when_all_refuse_it_is_an_error_of_the_library_with_the_earliest_time(
    world: World,
) -> None:
    world.registry["a"].open("test", for_=20.0)
    world.registry["b"].open("test", for_=5.0)

    with pytest.raises(BreakerOpenError) as caught:
        world.request("GET")

    assert isinstance(caught.value, world.lib.TransportError)
    assert (caught.value.key, caught.value.retry_after) == ("b", pytest.approx(5.0))
    assert not world.counts


def test_or_an_answer_that_the_sdks_do_not_retry(world: World) -> None:
    world.options["on_refuse"] = "response"
    world.registry["a"].open("test", for_=20.0)
    world.registry["b"].open("test", for_=5.0)

    response = world.request("GET")

    assert response.status_code == 503
    assert response.headers["x-should-retry"] == "false"
    assert response.headers["retry-after"] == "5"


def test_the_least_bad_answers_without_a_vote(world: World) -> None:
    world.rules["when_all_open"] = "least_bad"
    for key in "ab":
        while (permit := world.registry[key].try_acquire()) is not None:
            permit.failure("test")

    assert world.request("GET").text == "a"
    assert world.registry["a"].state is State.OPEN
    assert world.registry["a"].metrics().successes == 0


# Bad input


@pytest.mark.parametrize(
    "base", ["", "a.example", "ftp://a.example", "https://", "https://a.example/?x=1", "/api"]
)
def test_a_base_url_that_is_none_is_an_error_that_names_the_provider(
    world: World, base: str
) -> None:
    world.targets["b"] = base
    with pytest.raises(ValueError, match="'b'"):
        world.transport()


@pytest.mark.parametrize("target", [None, 7, b"https://a.example", object()])
def test_a_target_of_another_kind_is_an_error(world: World, target: Any) -> None:
    world.targets["a"] = target
    with pytest.raises(TypeError, match="target of 'a'"):
        world.transport()


def test_settings_of_the_wrong_type_are_errors(world: World) -> None:
    with pytest.raises(TypeError, match="failover must be a Failover"):
        world.adapter.FailoverTransport(world.lib.MockTransport(print), {"a": "https://a"})
    world.options["pass_others"] = "yes"
    with pytest.raises(TypeError, match="pass_others must be True or False"):
        world.transport()
    world.options = {"repeatable": "yes"}
    with pytest.raises(TypeError, match="repeatable must be a function"):
        world.transport()
