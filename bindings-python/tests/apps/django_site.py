"""A site of Django's in one file, for ASGI and for WSGI."""

# mypy: ignore-errors
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path, reverse
from django.views.decorators.csrf import csrf_exempt

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="for tests only",
        USE_TZ=True,
        LOGGING_CONFIG=None,
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        APPEND_SLASH=True,
    )
    django.setup(set_prefix=False)


def hello(request: HttpRequest, name: str) -> JsonResponse:
    response = JsonResponse({"hello": name, "here": request.get_full_path(), "url": reverse("hello", args=[name])})
    response.set_cookie("seen", name)
    return response


@csrf_exempt
def upload(request: HttpRequest) -> JsonResponse:
    file: Any = request.FILES["file"]
    return JsonResponse({"size": sum(len(chunk) for chunk in file.chunks()), "note": request.POST["note"]})


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def lines() -> AsyncIterator[str]:
        for number in range(3):
            yield f"line {number}\n"

    return StreamingHttpResponse(lines(), content_type="text/plain")


def fail(request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError("in a view")


urlpatterns = [
    path("hello/<name>/", hello, name="hello"),
    path("upload", upload),
    path("stream", stream),
    path("fail", fail),
]

asgi: Any = get_asgi_application()
wsgi: Any = get_wsgi_application()
