"""The pytest plugin finds the URL patterns of a real Django project."""

from __future__ import annotations

import pytest
from tests.support.plugin_runs import failure, passed

pytest.importorskip("django")

pytest_plugins = ["pytester"]

PROJECT = """
import pytest
from tests.support.django_project import MIDDLEWARE, Urlconf, set_up

set_up()

from django.http import HttpResponse
from django.test import Client
from django.test.utils import override_settings
from django.urls import path
from recloser_adapters.django import exempt, keyed, protect


def view(request, **kwargs):
    return HttpResponse("hello")


def made(decorate):
    @decorate
    def view(request):
        return HttpResponse("hello")

    return view


urlpatterns = [
    path("orders/<int:order>", view),
    path("open", made(exempt)),
    path("named", made(keyed("backend"))),
    path("pay", made(protect(None, "payments"))),
]


@pytest.fixture(scope="module")
def client():
    with override_settings(ROOT_URLCONF=Urlconf(urlpatterns), RECLOSER={}):
        yield Client()
"""


def test_patterns_of_django_are_known_before_their_first_request(
    pytester: pytest.Pytester,
) -> None:
    passed(
        pytester,
        PROJECT
        + """
@pytest.mark.parametrize(
    ("path", "key"),
    [("/orders/7", "GET /orders/<int:order>"), ("/named", "backend"), ("/pay", "payments")],
)
def test_it(path, key, client, force_open, recloser_transitions):
    assert client.get(path).status_code == 200
    force_open(key)
    assert client.get(path).status_code == 503
    recloser_transitions.expect(key, "open")

def test_nothing_is_left(client):
    assert client.get("/pay").status_code == 200
""",
        tests=4,
    )


def test_a_key_that_no_pattern_has_is_told(pytester: pytest.Pytester) -> None:
    said = failure(
        pytester,
        PROJECT
        + """
def test_it(client, force_open):
    force_open("GET /orders")
""",
    )

    assert "did you mean 'GET /orders/<int:order>'?" in said
