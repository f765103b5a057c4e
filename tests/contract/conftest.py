"""Runs each test on each front end that it is about; ASGI on asyncio and on trio."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from tests.support import django_fronts, framework_frontends, frontends
from tests.support.frontends import Frontend
from tests.support.scripted_handler import Script

from recloser import Registry
from recloser.testing import ManualClock

ASGI = (*frontends.ASGI, *framework_frontends.ASGI, *django_fronts.ASGI)
WSGI = (*frontends.WSGI, *framework_frontends.WSGI, *django_fronts.WSGI)
HTTP: tuple[type[Frontend], ...] = (*ASGI, *WSGI)
ALL = (*HTTP, *frontends.CALLS)

# What a test may ask for, by the name of its argument.
GROUPS: dict[str, tuple[type[Frontend], ...]] = {
    "frontend": ALL,
    "http": HTTP,
    "asgi": ASGI,
    "wsgi": WSGI,
    # Those whose server sends and receives through them.
    "around_messages": tuple(kind for kind in ASGI if kind.sees_messages),
    "cancellable": tuple(kind for kind in ALL if kind.is_async and kind.sees_messages),
    # Under asyncio, an exit that is raised in a task of its own ends the event loop.
    "outlives_exits": tuple(kind for kind in ALL if not kind.makes_a_task),
    "around_call": frontends.CALLS,
    "around_application": (frontends.StarletteOutside,),
    # A generator's work after its response is still in its body.
    "works_afterwards": tuple(
        kind for kind in HTTP if kind is not frontends.WsgiLate and kind.works_afterwards
    ),
    # The validator complains of a server that forgets to close a body.
    "forgetful": tuple(kind for kind in WSGI if kind is not frontends.WsgiValidated),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, members in GROUPS.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(
                ("kind", "anyio_backend"),
                [
                    pytest.param(
                        kind,
                        backend,
                        id=f"{kind.__name__}-{backend}" if kind.is_async else kind.__name__,
                        marks=[
                            *_skip_without(frontends.NEEDS.get(kind) or kind.needs),
                            *map(pytest.mark.filterwarnings, kind.warns),
                        ],
                    )
                    for kind in members
                    for backend in kind.backends
                ],
            )


def _skip_without(library: str | None) -> list[pytest.MarkDecorator]:
    if library is None or find_spec(library) is not None:
        return []
    return [pytest.mark.skip(reason=f"{library} is not installed")]


@pytest.fixture
def anyio_backend() -> str:
    """Asyncio, for a test that is about no front end; the others name theirs."""
    return "asyncio"


@pytest.fixture
def script(clock: ManualClock) -> Script:
    return Script(clock)


@pytest.fixture
def frontend(
    kind: type[Frontend], script: Script, registry: Registry, clock: ManualClock
) -> Frontend:
    return kind(script, registry, clock)


http = asgi = wsgi = around_messages = cancellable = around_call = around_application = (
    works_afterwards
) = outlives_exits = forgetful = frontend
