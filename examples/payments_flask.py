"""A Flask view that charges a card at one of two payment hosts, and never twice.

Run it:  pip install '.[flask,requests]'
         python examples/payments_flask.py               # a demonstration of a few seconds
         python examples/payments_flask.py serve 8000    # the app and its fake hosts, to play with
Try it:  curl -i -X POST localhost:8000/pay/order-1
         curl -X PUT localhost:8000/hosts/east/fail           # or hang, ok
         curl -i -X POST localhost:8000/pay/order-2           # charged by west
         curl localhost:8000/breakers                         # why

Both hosts belong to one payment service and share their idempotency keys. A charge has such a key,
so it is safe to send it again, to either host. A refund has none here. It goes to the other host
only if it is certain that nothing was sent.

The app is the upper half of this file. The hosts below it are fakes on local sockets. Their modes
can be set.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from flask import Flask, jsonify
from flask.typing import ResponseReturnValue

from recloser import Attempt, BreakerOpenError, Failover, Policy, Provider, Registry
from recloser_adapters.requests import nothing_sent

NAMES = ("east", "west")


def shop(base_urls: dict[str, str]) -> Flask:
    """Return the application: charges are repeatable, refunds are not."""
    # A payment that takes more than two seconds is a failure, for any baseline.
    registry = Registry(Policy(slow_ceiling=2.0))
    hosts = Failover(
        registry,
        [Provider(name, base_urls[name]) for name in NAMES],
        time_budget=6.0,
        nothing_sent=nothing_sent,
    )
    session = requests.Session()
    app = Flask(__name__)

    def post(attempt: Attempt[str], path: str, **headers: str) -> dict[str, str]:
        response = session.post(
            attempt.target + path,
            headers=headers,
            # A requests call cannot be cancelled. Only this time-out ends a call that hangs.
            timeout=(attempt.connect_timeout, attempt.timeout),
        )
        response.raise_for_status()
        return {**response.json(), "host": attempt.key}

    @app.post("/pay/<order>")
    def pay(order: str) -> ResponseReturnValue:
        return jsonify(
            hosts.call(
                lambda attempt: post(attempt, f"/charges/{order}", **{"Idempotency-Key": order}),
                repeatable=True,
            )
        )

    @app.post("/refund/<order>")
    def refund(order: str) -> ResponseReturnValue:
        return jsonify(hosts.call(lambda attempt: post(attempt, f"/refunds/{order}")))

    @app.errorhandler(BreakerOpenError)
    def all_open(refusal: BreakerOpenError) -> ResponseReturnValue:
        return "later\n", 503, {"Retry-After": str(max(1, round(refusal.retry_after)))}

    @app.errorhandler(requests.RequestException)
    def failed(error: requests.RequestException) -> ResponseReturnValue:
        return f"the payment host failed: {type(error).__name__}\n", 502

    @app.get("/breakers")
    def breakers() -> ResponseReturnValue:
        return jsonify({each.key: each.explain() for each in registry.breakers()})

    return app


@dataclass
class Bank:
    """The state that both hosts share: their modes, and every charge and refund."""

    modes: dict[str, str] = field(default_factory=lambda: dict.fromkeys(NAMES, "ok"))
    received: Counter[str] = field(default_factory=Counter[str])
    charged: dict[str, str] = field(default_factory=dict[str, str])
    refunded: Counter[str] = field(default_factory=Counter[str])
    released: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def fake_hosts() -> Generator[tuple[Bank, dict[str, str]], None, None]:
    """Run two hosts on local sockets; yield their bank and their base URLs."""
    bank = Bank()
    with contextlib.ExitStack() as stack:
        urls: dict[str, str] = {}
        for name in NAMES:
            server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(name, bank))
            stack.enter_context(server)
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(server.shutdown)
            urls[name] = f"http://127.0.0.1:{server.server_port}"
        stack.callback(bank.released.set)
        yield bank, urls


def handler_of(name: str, bank: Bank) -> type[BaseHTTPRequestHandler]:
    class Host(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body are two packets. Nagle's algorithm would delay the second one by 40 ms.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            kind, order = self.path.strip("/").split("/")
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            bank.received[name] += 1
            mode = bank.modes[name]
            if mode == "hang":
                bank.released.wait(30.0)
                self.close_connection = True
            elif mode == "fail":
                self.answer(500, {"error": "out of order"})
            else:
                if kind == "charges":
                    # A known key means the same charge, not another one.
                    bank.charged.setdefault(self.headers["Idempotency-Key"], name)
                else:
                    bank.refunded[order] += 1
                self.answer(200, {kind: order})

        def answer(self, status: int, document: dict[str, str]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            pass

    return Host


def demonstrate() -> None:
    with fake_hosts() as (bank, urls):
        client = shop(urls).test_client()

        def scene(title: str, path: str, times: int, **modes: str) -> None:
            bank.modes.update(dict.fromkeys(NAMES, "ok") | modes)
            print(title)
            answers: Counter[str] = Counter()
            waits: list[float] = []
            for number in range(times):
                began = time.perf_counter()
                response = client.post(f"{path}/{title}-{number}")
                waits.append((time.perf_counter() - began) * 1000)
                served = response.json["host"] if response.json else response.text.strip()
                answers[f"{response.status_code} {served}"] += 1
            waits.sort()
            said = ", ".join(f"{count} x {answer!r}" for answer, count in answers.items())
            print(f"    {said}; median {waits[times // 2]:.1f} ms, slowest {waits[-1]:.1f} ms")

        scene("All is well", "/pay", 60)
        scene("east fails: charges go on to west", "/pay", 60, east="fail")
        scene("east hangs: charges go on to west", "/pay", 60, east="hang")
        scene("both fail", "/pay", 20, east="fail", west="fail")
        time.sleep(1.5)
        scene("All is well again", "/refund", 60)
        scene("east fails: what may not be repeated is not", "/refund", 60, east="fail")
        print(f"    {dict(bank.received)} received, {len(bank.charged)} charged once")
        print(f"    refunds made twice: {sum(count > 1 for count in bank.refunded.values())}")


def serve(port: int) -> None:
    with fake_hosts() as (bank, urls):
        app = shop(urls)

        @app.put("/hosts/<name>/<mode>")
        def set_mode(name: str, mode: str) -> str:
            bank.modes[name] = mode
            return "done\n"

        app.run(host="127.0.0.1", port=port)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]) if len(sys.argv) > 2 else 8000)
    else:
        demonstrate()
