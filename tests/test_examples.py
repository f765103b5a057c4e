"""Every inbound example does what its first lines say, on a real server."""

from __future__ import annotations

import http.client

import pytest
from tests.support.example_server import EXAMPLES, needs, serving
from tests.support.waiting import until

# What has to be installed for an example to run.
NEEDED = {
    "starlette_app": ["starlette", "uvicorn"],
    "fastapi_app": ["fastapi", "uvicorn"],
    "flask_app": ["flask"],
    "django_app": ["django"],
    "plain_asgi": ["uvicorn"],
    "plain_wsgi": [],
}


class Shop:
    """A running example."""

    def __init__(self, port: int) -> None:
        self.port = port

    def status(self, method: str, path: str) -> tuple[int, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            response.read()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return response.status, headers
        finally:
            connection.close()

    def answers(self) -> bool:
        try:
            return self.status("GET", "/about")[0] == 200
        except OSError:
            return False


@pytest.mark.parametrize(
    "example", [pytest.param(each, marks=needs(*NEEDED[each])) for each in NEEDED]
)
def test_example_refuses_while_its_ledger_is_down_and_recovers(example: str) -> None:
    with serving(example, answers=lambda port: Shop(port).answers()) as port:
        shop = Shop(port)
        assert shop.status("GET", "/orders/1")[0] == 200

        assert shop.status("PUT", "/ledger/down")[0] == 200
        statuses = [shop.status("GET", f"/orders/{number}")[0] for number in range(5)]
        assert statuses == [502] * 5

        # It looks again after 0.15 s: on a loaded machine the very next request may be its probe.
        for _ in range(20):
            status, headers = shop.status("GET", "/orders/6")
            if status != 502:
                break
        assert status == 503
        assert headers["content-type"] == "application/problem+json"
        assert int(headers["retry-after"]) >= 1
        assert shop.answers()

        assert shop.status("PUT", "/ledger/up")[0] == 200
        until(lambda: shop.status("GET", "/orders/7")[0] == 200, "it recovers")


def test_every_inbound_example_is_tested() -> None:
    inbound = {
        "starlette_app",
        "fastapi_app",
        "flask_app",
        "django_app",
        "plain_asgi",
        "plain_wsgi",
    }

    assert inbound == set(NEEDED)
    assert inbound <= {path.stem for path in EXAMPLES.glob("*.py")}
