"""Faults that are injected on purpose into the views of a project."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("django")

from django.http import HttpRequest, HttpResponse
from django.urls import path
from tests.support.django_project import Start
from tests.support.waiting import until_in_loop

from recloser.testing import ManualClock, chaos

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECLOSER_CHAOS", "1")


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=int(request.GET.get("status", "200")))


@pytest.mark.parametrize("status", [200, 500])
async def test_a_slow_view_counts_as_what_it_answers(
    start: Start, clock: ManualClock, status: int
) -> None:
    project = start([path("page", page)])

    with chaos(project.registry, "*", slow=1.0, slow_by=2.0, sleep=clock.advance):
        assert project.get(f"/page?status={status}").status_code == status
        answer = await project.async_client.get(f"/page?status={status}")
        assert answer.status_code == status

    metrics = project.registry["GET /page"].metrics()
    assert metrics.in_flight == 0
    assert (metrics.successes, metrics.failures) == ((2, 0) if status == 200 else (0, 2))


async def test_a_view_that_hangs_on_purpose_stops_no_event_loop(start: Start) -> None:
    project = start([path("page", page)])

    with chaos(project.registry, "*", hang=1.0, hang_for=60.0):
        hangs = asyncio.create_task(project.async_client.get("/page"))
        # Django does some of the work before the view in threads.
        await until_in_loop(
            lambda: project.registry["GET /page"].metrics().in_flight == 1, "the view begins"
        )
        hangs.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hangs

    assert project.registry["GET /page"].metrics().in_flight == 0


async def test_a_view_fails_on_purpose(start: Start) -> None:
    project = start([path("page", page)])

    with chaos(project.registry, "*", fail=1.0):
        assert project.get("/page").status_code == 500
        assert (await project.async_client.get("/page")).status_code == 500

    metrics = project.registry["GET /page"].metrics()
    assert (metrics.failures, metrics.in_flight) == (2, 0)
