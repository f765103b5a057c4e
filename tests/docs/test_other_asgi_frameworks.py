"""docs/how-to/other-asgi-frameworks.md: its code runs, and gives the keys that it tells."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.support.asked_keys import meet, meet_wsgi
from tests.support.markdown import code_blocks

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "other-asgi-frameworks.md"
BLOCKS = code_blocks(PAGE)

# Heading, library, path, key.
APPS = [
    ("Quart", "quart", "/orders/7", "GET /orders/<int:id>"),
    ("Litestar", "litestar", "/orders/7", "GET /orders/{order_id}"),
    ("Falcon, ASGI", "falcon", "/orders/7", "GET /orders/{order_id:int}"),
    ("Falcon, WSGI", "falcon", "/orders/7", "GET /orders/{order_id:int}"),
    ("BlackSheep", "blacksheep", "/orders/7", "GET /orders/{int:order_id}"),
    ("Connexion", "connexion", "/v1/orders/7", "GET /v1/orders/{order_id}"),
]


def run(heading: str, folder: Path) -> ModuleType:
    """Run a block as a module, as frameworks that look for functions by their name need it."""
    (code,) = [code for found, code in BLOCKS if found == heading]
    path = folder / "page_code.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location("page_code", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["page_code"] = module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what the frameworks use
        spec.loader.exec_module(module)
    return module


def registry_of(app: Any) -> Any:
    for inner in ("asgi_app", "registry"):
        app = getattr(app, inner, app)
    if hasattr(app, "breakers") or type(app).__name__ == "Registry":
        return app
    if hasattr(app, "plugins"):
        from recloser_adapters.litestar import BreakerPlugin

        return app.plugins.get(BreakerPlugin).registry
    stack: Any = app.middleware.middleware_stack
    return next(each.registry for each in stack if hasattr(each, "registry"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("heading", "library", "path", "key"), APPS)
def test_the_app_of_the_page_has_its_key(
    heading: str, library: str, path: str, key: str, tmp_path: Path
) -> None:
    pytest.importorskip(library)
    app: Any = run(heading, tmp_path).app

    async def ask() -> tuple[int | None, list[str]]:
        async def plain(method: str, path: str) -> int | None:
            from tests.support.asgi_client import Exchange

            return (await Exchange(method, path).run(app)).status

        await plain("GET", "/nowhere")  # some make their routes at the first request
        met = await meet(app, registry_of(app), "GET", path)
        return met.status, met.keys

    if heading == "Falcon, WSGI":
        met = meet_wsgi(app, app.registry, "GET", path)
        assert (met.status, met.keys) == (200, [key])
    else:
        assert asyncio.run(ask()) == (200, [key])


@pytest.mark.parametrize("heading", ["Keys", "Testing"])
def test_the_other_blocks_run(heading: str, tmp_path: Path) -> None:
    pytest.importorskip("quart")

    run(heading, tmp_path)


def test_every_block_is_run() -> None:
    assert [heading for heading, _ in BLOCKS] == [*(row[0] for row in APPS), "Keys", "Testing"]
