"""The URLconf of a project with all kinds of patterns."""

from __future__ import annotations

from typing import Any

from django.conf.urls.i18n import i18n_patterns
from django.http import FileResponse, HttpRequest, HttpResponse
from django.urls import include, path, re_path, register_converter
from django.utils.translation import gettext_lazy
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods
from django.views.generic import RedirectView, TemplateView
from django.views.static import serve

from recloser_adapters.django import exempt, keyed


class HexConverter:
    regex = "[0-9a-f]+"

    def to_python(self, value: str) -> int:
        return int(value, 16)

    def to_url(self, value: int) -> str:
        return f"{value:x}"


class EvenConverter:
    """One whose values are not all that its expression matches."""

    regex = "[0-9]+"

    def to_python(self, value: str) -> int:
        number = int(value)
        if number % 2:
            raise ValueError
        return number

    def to_url(self, value: int) -> str:
        return str(value)


class BrokenConverter(EvenConverter):
    """One that looks the value up where it cannot."""

    def to_python(self, value: str) -> int:
        raise ConnectionError


register_converter(BrokenConverter, "broken")
register_converter(HexConverter, "hex")
register_converter(EvenConverter, "even")


def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    match = request.resolver_match
    assert match is not None
    return HttpResponse(match.route)


async def async_view(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    return view(request)


@require_http_methods(["GET", "PUT"])
def get_or_put(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    return view(request)


@require_GET
@never_cache
def only_get(request: HttpRequest) -> HttpResponse:
    return view(request)


@exempt
def repair(request: HttpRequest) -> HttpResponse:
    return view(request)


@csrf_exempt
@keyed("payments")
def pay(request: HttpRequest) -> HttpResponse:
    return view(request)


@keyed("payments")
def refund(request: HttpRequest, number: int) -> HttpResponse:
    return view(request)


class Orders(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return view(request)

    def post(self, request: HttpRequest) -> HttpResponse:
        return view(request)

    @exempt
    def delete(self, request: HttpRequest) -> HttpResponse:
        return view(request)


@keyed("reports")
class Reports(View):
    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        return view(request)


class Callable_:  # noqa: N801 - a view that is no function
    def __call__(self, request: HttpRequest) -> HttpResponse:
        return view(request)


def file(request: HttpRequest) -> FileResponse:
    return FileResponse(open(__file__, "rb"))


class Table(TemplateView):
    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return view(request)


shop = (
    [
        path("", view, name="index"),
        path("items/<int:number>/", view, name="item"),
        path("items/<slug:slug>/", view, name="item-by-name"),
        path("items/<slug:slug>/reviews/<int:review>", view),
    ],
    "shop",
)

nested = [
    path("a/", include([path("b/", include([path("c/<uuid:id>", view)]))])),
    re_path(r"^r/(?P<code>[A-Z]{2})/", include([path("<int:n>", view), re_path(r"^all$", view)])),
]

languages = i18n_patterns(
    path("about/", view, name="about"),
    path(gettext_lazy("Delete"), view),
    path("shop/", include(shop, namespace="localized")),
)

urlpatterns = [
    path("", view, name="home"),
    path("orders/<int:number>", view),
    path("orders/", Orders.as_view()),
    path("hex/<hex:number>/", async_view),
    path("even/<even:number>", view),
    path("even/<int:number>", async_view),
    path("methods/<str:name>", get_or_put),
    path("only/", only_get),
    path("repair", repair),
    path("pay", pay),
    path("refund/<int:number>", refund),
    path("reports/<int:year>", Reports.as_view()),
    path("callable", Callable_()),
    path("file", file),
    path("table/", Table.as_view()),
    path("old/", RedirectView.as_view(url="/new/")),
    path("shop/", include(shop, namespace="one")),
    path("of/<slug:tenant>/shop/", include(shop, namespace="two")),
    path("nested/", include(nested)),
    re_path(r"^years/(?P<year>[0-9]{4})/$", view),
    re_path(r"^years/(?P<year>[0-9]{4})/(?P<month>[0-9]{1,2})/?$", view),
    re_path(r"^plain/([0-9]+)/([a-z]+)$", view),
    re_path(r"^maybe/(?:page-(?P<page>\d+)/)?$", view),
    re_path(r"^same/(?P<id>\d+)$", view),
    re_path(r"^same/(?P<id>[a-z]+)$", async_view),
    re_path(r"^dots\.json$", view),
    re_path(r"either/(?:one|other)/", view),
    re_path(r"^media/(?P<path>.*)$", serve, {"document_root": "/nowhere"}),
    path("files/<path:path>", view),
    path("with space/<int:n>", view),
    path("percent/%/<int:n>", view),
    path("ümlaut/<int:n>", view),
    *languages,
    path("<slug:page>.html", view),
    re_path(r"^pages/(?P<anything>.*)$", view),
]
