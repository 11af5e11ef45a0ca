"""Which pages of other sites may call the API from a browser: none, unless `SENTINEL_CORS_ORIGINS` names them."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import patch_vary_headers

ALLOWED_HEADERS = "Authorization, X-API-Key, Content-Type, Content-Encoding, Idempotency-Key"
EXPOSED_HEADERS = "Link, Retry-After"
PREFLIGHT_SECONDS = 600


def _allowed_origin(request: HttpRequest) -> str | None:
    origins: list[str] = settings.SENTINEL_CORS_ORIGINS
    origin = request.headers.get("Origin", "")
    return origin if origin and (origin in origins or "*" in origins) else None


def is_preflight(request: HttpRequest) -> bool:
    """Tell whether a browser asks, without credentials, if a page may send the real request."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def answer_preflight(request: HttpRequest, methods: list[str]) -> HttpResponse:
    """Answer what the page may do; without CORS headers the browser refuses it."""
    response = HttpResponse(status=204)
    if _allowed_origin(request) is not None:
        response.headers["Access-Control-Allow-Methods"] = ", ".join(methods)
        response.headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
        response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
    add_headers(request, response)
    return response


def add_headers(request: HttpRequest, response: HttpResponseBase) -> None:
    """Let the page of an allowed origin read the answer. Cookies are never allowed: keys are headers."""
    origin = _allowed_origin(request)
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
    if settings.SENTINEL_CORS_ORIGINS:
        patch_vary_headers(response, ["Origin"])
