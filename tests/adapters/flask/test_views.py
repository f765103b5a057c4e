"""Flask: marks on views, and views with a breaker of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, abort, current_app, jsonify, send_file
from flask.views import MethodView, View
from tests.support.breaker_state import votes

from recloser import BreakerOpenError, Registry
from recloser.testing import ManualClock, open_breaker
from recloser_adapters.flask import Recloser, ViewRefusedError, exempt, keyed, protect


def get(app: Flask, path: str, method: str = "GET") -> Any:
    # A server reads each body to its end, and so do we.
    return app.test_client().open(path, method=method, buffered=True)


def keys_of(registry: Registry) -> list[str]:
    return sorted(breaker.key for breaker in registry)


def test_exempt_and_keyed_views_are_so_in_whatever_form_they_come(registry: Registry) -> None:
    app = Flask(__name__)
    recloser = Recloser(app, registry)

    @app.route("/exempt")
    @recloser.exempt
    def hidden() -> str:
        return "hidden"

    @exempt
    class Hidden(MethodView):
        def get(self) -> str:
            return "hidden"

    @app.route("/keyed/<x>")
    @keyed("payments")
    def paid(x: str) -> str:
        return "paid"

    app.add_url_rule("/class", view_func=Hidden.as_view("class"))
    for path in ("/exempt", "/class", "/keyed/1"):
        assert get(app, path).status_code == 200

    assert keys_of(registry) == ["payments"]


NO_ASYNC = pytest.mark.skipif(not find_spec("asgiref"), reason="Flask needs asgiref for it")
KINDS = ["sync", pytest.param("async", marks=NO_ASYNC)]


def protected(registry: Registry, work: Callable[[], Any], kind: str) -> Flask:
    app = Flask(__name__)
    recloser = Recloser(app, registry)

    if kind == "async":

        @app.route("/")
        @recloser.protect("payments")
        async def view() -> Any:
            return work()
    else:

        @app.route("/")
        @recloser.protect("payments")
        def view() -> Any:
            return work()

    return app


@pytest.mark.parametrize("kind", KINDS)
def test_a_protected_view_that_fails_is_refused(registry: Registry, kind: str) -> None:
    def work() -> str:
        raise RuntimeError("out of order")

    app = protected(registry, work, kind)

    statuses = [get(app, "/").status_code for _ in range(30)]
    refusal = get(app, "/")

    assert (statuses[0], statuses[-1]) == (500, 503)
    assert refusal.content_type == "application/problem+json"
    assert int(refusal.headers["Retry-After"]) >= 1
    # The rule has no breaker beside it.
    assert keys_of(registry) == ["payments"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("result", "count"),
    [
        ("text", "successes"),
        ({"a": 1}, "successes"),
        (("gone", 404), "ignored"),
        (("down", 502, {"X-Why": "upstream"}), "failures"),
        (404, "ignored"),
        (503, "failures"),
    ],
)
def test_a_status_means_the_same_raised_or_returned(
    registry: Registry, kind: str, result: Any, count: str
) -> None:
    def work() -> Any:
        if isinstance(result, int):
            abort(result)
        return result

    answer = get(protected(registry, work, kind), "/")

    metrics = registry["payments"].metrics()
    assert getattr(metrics, count) == metrics.calls == 1
    assert metrics.in_flight == 0
    if count == "failures":
        assert answer.status_code >= 500


def test_a_stream_counts_at_its_end_and_its_close_is_passed_on(registry: Registry) -> None:
    class Body:
        closed = 0

        def __iter__(self) -> Iterator[bytes]:
            yield b"begin "
            in_flight.append(registry["payments"].metrics().in_flight)
            if breaks:
                raise RuntimeError("broke off")
            yield b"end"

        def close(self) -> None:
            Body.closed += 1

    in_flight: list[int] = []
    app = protected(registry, lambda: Response(Body()), "sync")

    breaks = False
    assert get(app, "/").get_data(as_text=True) == "begin end"
    assert (in_flight, Body.closed) == ([1], 1)
    assert registry["payments"].metrics().successes == 1

    breaks = True
    with pytest.raises(RuntimeError, match="broke off"):
        get(app, "/")
    assert registry["payments"].metrics().failures == 1

    app.test_client().get("/").close()
    metrics = registry["payments"].metrics()
    assert (Body.closed >= 2, metrics.calls, metrics.in_flight) == (True, 3, 0)
    assert metrics.successes == 1


def test_an_error_of_a_client_that_a_view_lets_out_is_its_own(registry: Registry) -> None:
    class NotFoundError(Exception):
        """As a client library raises for a 404."""

        status_code = 404

    def work() -> str:
        raise NotFoundError

    assert get(protected(registry, work, "sync"), "/").status_code == 500
    assert votes(registry["payments"].metrics()) == {"failures": 1}


def generated(registry: Registry, seen: list[int], breaks: bool) -> Iterator[bytes]:
    yield b"begin "
    seen.append(registry["payments"].metrics().in_flight)
    if breaks:
        raise RuntimeError("broke off")
    yield b"end"


@pytest.mark.parametrize("form", ["generator function", "passed through", "with a status"])
def test_whatever_generates_the_body_is_watched_to_its_end(registry: Registry, form: str) -> None:
    seen: list[int] = []
    wrap: Callable[[Any], Any] = {
        "generator function": lambda body: body,
        # So are bodies handed on that another client reads: Werkzeug then leaves them alone.
        "passed through": lambda body: Response(body, direct_passthrough=True),
        "with a status": lambda body: (body, 201, {"X-Why": "made"}),
    }[form]

    def work(breaks: bool = False) -> Any:
        return wrap(generated(registry, seen, breaks))

    assert get(protected(registry, work, "sync"), "/").get_data() == b"begin end"
    assert (seen, registry["payments"].metrics().successes) == ([1], 1)

    with pytest.raises(RuntimeError, match="broke off"):
        get(protected(registry, lambda: work(breaks=True), "sync"), "/")
    assert registry["payments"].metrics().failures == 1


def test_a_view_that_is_a_generator_function_is_watched_to_its_end(registry: Registry) -> None:
    app = Flask(__name__)
    seen: list[int] = []

    @app.get("/")
    @protect(registry, "payments")
    def view() -> Iterator[bytes]:
        yield from generated(registry, seen, False)

    assert get(app, "/").get_data() == b"begin end"
    assert (seen, registry["payments"].metrics().successes) == ([1], 1)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_a_stream_that_is_not_sent_ends_at_once(
    registry: Registry, method: str, status: int
) -> None:
    def work() -> Response:
        return Response(generated(registry, [], False), status)

    answer = get(protected(registry, work, "sync"), "/", method)

    assert (answer.status_code, answer.get_data()) == (status, b"")
    assert votes(registry["payments"].metrics()) == {"successes": 1}


def test_a_stream_is_as_slow_as_its_headers(registry: Registry, clock: ManualClock) -> None:
    def body() -> Iterator[bytes]:
        clock.advance(100.0)
        yield b"late"

    get(protected(registry, lambda: Response(body()), "sync"), "/")

    metrics = registry["payments"].metrics()
    assert (metrics.successes, metrics.mean) == (1, 0.0)


def test_a_file_is_sent_as_without_protection(registry: Registry) -> None:
    app = protected(registry, lambda: send_file(__file__), "sync")

    assert get(app, "/").get_data() == Path(__file__).read_bytes()
    assert registry["payments"].metrics().successes == 1


def test_a_refusal_can_be_answered_by_the_application(registry: Registry) -> None:
    app = protected(registry, lambda: "never", "sync")
    open_breaker(registry["payments"])

    @app.errorhandler(BreakerOpenError)
    def refused(error: ViewRefusedError) -> tuple[Response, int]:
        return jsonify(key=error.key), 418

    answer = get(app, "/")

    assert (answer.status_code, answer.json) == (418, {"key": "payments"})


def test_a_refusal_of_another_breaker_in_a_view_is_not_blamed_on_the_view(
    registry: Registry,
) -> None:
    inner = Registry(clock=ManualClock())
    open_breaker(inner["upstream"])

    def work() -> str:
        inner["upstream"].acquire()
        return "never"

    app = protected(registry, work, "sync")

    @app.errorhandler(BreakerOpenError)
    def refused(error: BreakerOpenError) -> tuple[str, int]:
        return "later", 503

    assert get(app, "/").status_code == 503
    assert registry["payments"].metrics().ignored == 1


def test_a_view_with_a_registry_of_its_own_needs_no_extension(registry: Registry) -> None:
    app = Flask(__name__)
    app.add_url_rule("/", "home", protect(registry, "payments")(lambda: "here"))
    assert get(app, "/").get_data() == b"here"
    open_breaker(registry["payments"])

    assert get(app, "/").status_code == 503


def test_a_protected_method_has_this_breaker_instead_of_its_rules(registry: Registry) -> None:
    class Payments(MethodView):
        @protect(registry, "payments")
        def get(self) -> str:
            return current_app.name

        def post(self) -> str:
            return "paid"

    app = Flask(__name__)
    Recloser(app, registry)
    app.add_url_rule("/", view_func=Payments.as_view("payments"))
    for method in ("GET", "HEAD", "POST"):
        get(app, "/", method)

    assert {each.key: each.metrics().successes for each in registry} == {"payments": 2, "POST /": 1}


def test_methods_of_class_based_views_are_exempt_and_keyed_like_functions(
    registry: Registry,
) -> None:
    class Some(MethodView):
        @exempt
        def get(self) -> str:
            return "hidden"

        def head(self) -> str:
            return ""

        @keyed("payments")
        def post(self) -> str:
            return "paid"

    class One(View):
        methods = ("GET", "POST")

        @exempt
        def dispatch_request(self) -> str:
            return "hidden"

    app = Flask(__name__)
    Recloser(app, registry)
    app.add_url_rule("/some", view_func=Some.as_view("some"))
    app.add_url_rule("/one", view_func=One.as_view("one"))
    for method in ("GET", "POST"):
        get(app, "/some", method)
        get(app, "/one", method)

    assert keys_of(registry) == ["payments"]
    get(app, "/some", "HEAD")
    assert keys_of(registry) == ["GET /some", "payments"]


def test_protecting_a_class_is_an_error_at_once(registry: Registry) -> None:
    with pytest.raises(TypeError, match=r"protect needs a function, got <class .*its methods"):
        protect(registry, "payments")(MethodView)
