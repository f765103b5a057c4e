"""Django REST framework and Django Ninja: keys, marks, errors and refusals."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.breaker_state import votes

pytest.importorskip("django")
pytest.importorskip("rest_framework")
pytest.importorskip("ninja")

from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.utils.decorators import method_decorator
from ninja import NinjaAPI, Router
from ninja.errors import HttpError
from rest_framework import routers, viewsets
from rest_framework.decorators import action, api_view
from rest_framework.exceptions import NotFound
from rest_framework.response import Response
from rest_framework.views import APIView
from tests.support.django_project import Project, Start

from recloser import BreakerOpenError
from recloser_adapters.django import exempt, guarded_keys, keyed, permit_of, protect, refuse


class Orders(viewsets.ViewSet):
    def list(self, request: Any, **kwargs: Any) -> Response:
        return Response([])

    def create(self, request: Any) -> Response:
        return Response({"got": request.data})

    def retrieve(self, request: Any, pk: str) -> Response:
        permit_of(request).failure("stale")
        return Response(pk)

    @exempt
    def destroy(self, request: Any, pk: str) -> Response:
        return Response(status=204)

    @action(detail=True, methods=["post"], url_path="pay-now")
    @protect(None, "payments")
    def pay(self, request: Any, pk: str) -> Response:
        if pk == "13":
            raise ZeroDivisionError
        if pk == "14":
            raise NotFound
        return Response(pk, status=502 if pk == "15" else 200)


@method_decorator(protect(None, "reports"), name="dispatch")
class Reports(APIView):
    def get(self, request: Any) -> Response:
        return Response("ok")


@keyed("prices")
class Prices(APIView):
    def get(self, request: Any) -> Response:
        raise BreakerOpenError("ledger", retry_after=20.0)


@api_view(["GET", "POST"])
def plain(request: Any) -> Response:
    return Response("ok")


def rest_patterns() -> list[Any]:
    router = routers.DefaultRouter()
    router.register("orders", Orders, basename="order")
    return [
        path("rest/", include(router.urls)),
        path("rest/reports", Reports.as_view()),
        path("rest/prices", Prices.as_view()),
        path("rest/plain", plain),
    ]


@pytest.fixture
def rest(start: Start) -> Project:
    return start(rest_patterns())


def test_view_sets_have_a_key_for_each_method_and_pattern(rest: Project) -> None:
    client = rest.client
    assert client.get("/rest/orders/").status_code == 200
    assert client.post("/rest/orders/", {"a": 1}).status_code == 200
    assert client.get("/rest/orders/7/").status_code == 200
    assert client.get("/rest/orders.json").status_code == 200
    assert client.delete("/rest/orders/7/").status_code == 204
    assert client.post("/rest/orders/7/pay-now/").status_code == 200
    assert client.get("/rest/").status_code == 200
    assert client.get("/rest/plain").status_code == 200

    assert rest.keys == {
        "GET /rest/orders/",
        "POST /rest/orders/",
        "GET /rest/orders/<pk>/",
        "GET /rest/orders.<format>/",
        "GET /rest/",
        "GET /rest/plain",
        "payments",
    }
    assert votes(rest.registry["GET /rest/orders/<pk>/"].metrics()) == {"failures": 1}


@pytest.mark.parametrize(
    ("number", "expected"), [(1, "successes"), (13, "failures"), (14, "ignored"), (15, "failures")]
)
def test_protect_on_an_action_counts_what_the_framework_makes_of_it(
    rest: Project, number: int, expected: str
) -> None:
    rest.client.post(f"/rest/orders/{number}/pay-now/")

    assert votes(rest.registry["payments"].metrics()) == {expected: 1}


def test_a_protected_action_that_is_refused_answers_503(rest: Project) -> None:
    rest.registry["payments"].open(for_=20.0)

    answer = rest.client.post("/rest/orders/1/pay-now/")

    assert (answer.status_code, answer["Content-Type"]) == (503, "application/problem+json")
    assert int(answer["Retry-After"]) >= 20


def test_a_whole_class_can_be_protected(rest: Project) -> None:
    assert rest.get("/rest/reports").status_code == 200
    rest.registry["reports"].open()

    assert rest.get("/rest/reports").status_code == 503
    assert rest.keys == {"reports"}


def test_an_open_breaker_further_down_is_a_503_and_no_failure(rest: Project) -> None:
    for _ in range(20):
        answer = rest.get("/rest/prices")
        assert answer.status_code == 503
        assert int(answer["Retry-After"]) >= 20

    assert votes(rest.registry["prices"].metrics()) == {"ignored": 20}


def test_the_keys_are_known_before_the_first_request(rest: Project) -> None:
    keys = guarded_keys()[rest.registry]

    assert {"GET /rest/orders/", "POST /rest/orders/", "GET /rest/orders/<pk>/"} <= keys
    assert {"payments", "reports", "prices", "GET /rest/plain", "POST /rest/plain"} <= keys
    assert "DELETE /rest/orders/<pk>/" not in keys
    assert "PUT /rest/orders/" not in keys


def ninja_patterns() -> list[Any]:
    # An API may exist once for each name of its URLs.
    api = NinjaAPI(urls_namespace="ninja-test", openapi_url=None)
    items = Router()

    @items.get("/{int:item}")
    def read(request: HttpRequest, item: int) -> dict[str, int]:
        return {"item": item}

    @items.put("/{int:item}")
    @exempt
    def write(request: HttpRequest, item: int) -> dict[str, int]:
        return {"item": item}

    @api.get("/search")
    @keyed("index")
    def search(request: HttpRequest, q: str) -> list[str]:
        return [q]

    @api.post("/pay/{number}", response={200: dict, 402: dict, 502: dict})
    @protect(None, "payments")
    def pay(request: HttpRequest, number: int) -> Any:
        if number == 13:
            raise ZeroDivisionError
        if number == 14:
            raise HttpError(404, "no such order")
        return {15: (502, {}), 16: (402, {})}.get(number, {"ok": True})

    @api.get("/slow/{number}")
    async def slow(request: HttpRequest, number: int) -> dict[str, int]:
        return {"number": number}

    @api.post("/slow/{number}")
    async def slower(request: HttpRequest, number: int) -> dict[str, int]:
        raise BreakerOpenError("ledger", retry_after=20.0)

    api.add_router("/items", items)
    return [path("api/", api.urls)]


@pytest.fixture
def ninja(start: Start) -> Project:
    return start(ninja_patterns())


def test_operations_have_a_key_for_each_method_and_path(ninja: Project) -> None:
    client = ninja.client
    assert client.get("/api/items/5").status_code == 200
    assert client.put("/api/items/5").status_code == 200
    assert client.get("/api/search?q=a").status_code == 200
    assert client.post("/api/pay/1").status_code == 200
    assert client.get("/api/slow/5").status_code == 200

    assert ninja.keys == {
        "GET /api/items/<int:item>",
        "index",
        "payments",
        "GET /api/slow/<number>",
    }


@pytest.mark.parametrize(
    ("number", "expected"),
    [(1, "successes"), (13, "failures"), (14, "ignored"), (15, "failures"), (16, "ignored")],
)
def test_protect_on_an_operation_counts_what_the_framework_makes_of_it(
    ninja: Project, number: int, expected: str
) -> None:
    ninja.client.post(f"/api/pay/{number}")

    assert votes(ninja.registry["payments"].metrics()) == {expected: 1}


def test_a_protected_operation_that_is_refused_answers_503(ninja: Project) -> None:
    ninja.registry["payments"].open(for_=20.0)

    answer = ninja.client.post("/api/pay/1")

    assert (answer.status_code, answer["Content-Type"]) == (503, "application/problem+json")


def test_an_operation_that_lets_a_refusal_out_answers_503(ninja: Project) -> None:
    assert ninja.client.post("/api/slow/5").status_code == 503
    assert votes(ninja.registry["POST /api/slow/<number>"].metrics()) == {"ignored": 1}


def test_while_debug_is_on_ninja_needs_a_handler_for_that(start: Start) -> None:
    api = NinjaAPI(urls_namespace="ninja-debug", openapi_url=None)
    api.add_exception_handler(BreakerOpenError, refuse)

    @api.get("/prices")
    def prices(request: HttpRequest) -> dict[str, int]:
        raise BreakerOpenError("ledger", retry_after=20.0)

    project = start([path("api/", api.urls)], DEBUG=True)

    assert project.get("/api/prices").status_code == 503
    assert votes(project.registry["GET /api/prices"].metrics()) == {"ignored": 1}


def test_the_methods_of_operations_are_known(ninja: Project) -> None:
    keys = guarded_keys()[ninja.registry]

    assert keys == {
        "GET /api/items/<int:item>",
        "index",
        "payments",
        "GET /api/slow/<number>",
        "POST /api/slow/<number>",
        # The root of the API, which is for reversing URLs only.
        "GET /api/",
        "POST /api/",
    }


def test_a_view_that_answers_a_refusal_itself_is_not_counted(start: Start) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        try:
            raise BreakerOpenError("ledger", retry_after=20.0)
        except BreakerOpenError as error:
            return refuse(request, error)

    project = start([path("prices", view)])

    assert project.get("/prices").status_code == 503
    assert votes(project.registry["GET /prices"].metrics()) == {"ignored": 1}
