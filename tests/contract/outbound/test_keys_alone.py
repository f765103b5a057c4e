"""Ready-made keys, without a client: the part of a request that they have beside the host."""

from __future__ import annotations

import pickle

import pytest
from tests.support import plain_requests
from tests.support.plain_requests import KEYS, PlainRequest

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.keys import Keys, path_class

BODY = b'{"model": "m", "stream": true}'


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", ""),
        ("/", ""),
        ("//", ""),
        ("/orders", "/orders"),
        ("/orders/7", "/orders"),
        ("orders/7", "/orders"),
        ("/v1/charges/ch_123/refunds", "/v1/charges"),
        ("/api/v2/orders/", "/api/v2/orders"),
        ("/rest/api/v3/issue/1", "/rest/api/v3/issue"),
        ("/rpc/Call", "/rpc/*"),
        ("/v1", "/v1"),
        ("/v12beta1/a", "/v12beta1/a"),
        ("/v123456789/a", "/*"),
        ("/v1abcdefg/a", "/*"),
        ("/api/rest/rpc/orders/7", "/api/rest/rpc/orders"),
        ("/api/rest/rpc/v1/orders", "/api/rest/rpc/v1"),
        ("/api//orders", "/api"),
        ("/bot123:secret/send", "/*"),
        ("/7", "/*"),
        ("/Orders", "/*"),
        ("/X/orders", "/*"),
        ("/_x", "/*"),
        ("/a_b.c-d", "/a_b.c-d"),
        ("/" + "a" * 24, "/" + "a" * 24),
        ("/" + "a" * 25, "/*"),
        ("/api/" * 50 + "x", "/api"),
        ("/" * 192 + "api/abcde", "/api/abcd"),
        ("/" * 191 + "api/abcde", "/api/abcde"),
    ],
)
def test_the_beginning_of_a_path_is_what_says_more_than_where_an_api_begins(
    path: str, found: str
) -> None:
    assert path_class(path) == found


@pytest.mark.parametrize(
    ("request_", "model", "route"),
    [
        (PlainRequest("http://h/v1/chat/completions?a=b", body=BODY), "m", "chat"),
        (PlainRequest("http://h/v1/embeddings?a=/b"), "embeddings", "embeddings"),
        (PlainRequest("http://h/v1/models/g:predict", body=BODY), "g", "predict"),
        (PlainRequest("http://h/v1/charges?a=/b", body=BODY), "", "/v1/charges"),
        (PlainRequest("http://h/", body=BODY), "", ""),
        (PlainRequest("http://h", body=BODY), "", ""),
    ],
)
def test_a_key_is_the_host_and_a_part(request_: PlainRequest, model: str, route: str) -> None:
    assert KEYS.model(request_) == KEYS.by_model.part(request_) == model
    assert KEYS.route(request_) == KEYS.by_route.part(request_) == route
    assert KEYS.by_model(request_) == (f"h {model}" if model else "h")
    assert KEYS.by_route(request_) == (f"h {route}" if route else "h")


def test_what_is_known_of_a_call_to_a_model_is_read_from_its_body() -> None:
    call = KEYS.llm_call(PlainRequest(body=BODY))

    assert call == ("chat", "m", "stream", len(BODY))
    assert KEYS.llm_call(PlainRequest("http://h/orders", body=BODY)) is None


def test_a_credential_is_a_hash_in_words() -> None:
    first, second = (
        PlainRequest("http://h/", headers={"x-api-key": key}) for key in ("sk-1", "sk-2")
    )
    in_query = PlainRequest("http://h/?key=sk-1")
    part = KEYS.credential(first)

    assert part == KEYS.credential(in_query) != KEYS.credential(second)
    assert part.startswith("(credential ")
    assert len(part) == len("(credential 3f9a1c02)")
    assert part.endswith(")")
    assert KEYS.by_credential(first) == f"h {part}"
    assert KEYS.credential(PlainRequest()) == ""
    assert KEYS.by_credential(PlainRequest()) == "h"


@pytest.mark.parametrize("name", ["by_model", "by_route", "by_credential"])
def test_a_ready_made_key_looks_like_a_function_of_its_adapter(name: str) -> None:
    key = getattr(KEYS, name)

    assert (key.__name__, key.__qualname__) == (name, name)
    assert key.__module__ == plain_requests.__name__
    assert key.__doc__.startswith("Key by host and ")
    assert repr(key) == f"<key function {name}>"
    assert pickle.loads(pickle.dumps(key)) is key


def test_the_ready_keys_of_a_library_are_functions_of_its_module_by_name() -> None:
    keys = Keys("library", KEYS.read)

    for name, part, said in (
        ("by_model", "m", "Key by host and model"),
        ("by_route", "chat", "Key by host and the beginning of the path"),
        ("by_credential", "(credential ", "Key by host and a hash of the credential"),
    ):
        key = getattr(keys, name)
        request = PlainRequest(
            "http://h/v1/chat/completions", body=BODY, headers={"authorization": "Bearer s"}
        )
        assert key.part(request).startswith(part)
        assert key(request) == f"h {key.part(request)}"
        assert (key.__module__, key.__name__, key.__qualname__) == ("library", name, name)
        assert key.__doc__.startswith(said)
        assert repr(key) == f"<key function {name}>"
        assert key.__reduce__() == name
