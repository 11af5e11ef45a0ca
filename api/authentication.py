"""Who calls: an API key, or loopback under `sentinel up`."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from django.conf import settings
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from api import keys
from api.errors import ApiError, ErrorCode
from api.models import ApiKey, Scope
from ingestion.models import Project

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="sentinel"'}
# A proxy on this machine makes every stranger look like loopback. Many set one of these, but not all: nginx's plain
# proxy_pass sets none. So this is a second line of defence; the first is to leave SENTINEL_LOOPBACK_PROJECT unset.
FORWARDING_HEADERS = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")
LOOPBACK_SCOPES = frozenset({Scope.INGEST, Scope.READ})


@dataclass(frozen=True, slots=True)
class Caller:
    """The project that a request acts for, and what it may do."""

    project: Project
    scopes: frozenset[str] = field(default_factory=frozenset)
    is_authenticated: bool = True
    # What the scopes are those of, for the 403.
    named: str = "the key"

    def may(self, scope: str) -> bool:
        """Tell whether the caller has `scope`; `admin` includes every other."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


class CallerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <key>` or `X-API-Key: <key>`; without either, loopback where it is allowed.

    A key that is present is always judged: a wrong one never falls back to loopback.
    """

    def authenticate(self, request: Request) -> tuple[Caller, None]:
        """Return the caller, or raise the 401 that says what to do."""
        text = _presented_key(request.headers)
        if text is not None:
            return caller_of_key(text), None
        project = _loopback_project(request)
        if project is not None:
            return Caller(project, LOOPBACK_SCOPES, named="a call from this machine without a key"), None
        raise _unauthenticated(
            ErrorCode.NOT_AUTHENTICATED,
            "Send an API key as `Authorization: Bearer sk_sentinel_…`; make one in the admin or with `sentinel keys create`.",
        )

    def authenticate_header(self, _request: Request) -> str:
        """Return the challenge of a 401."""
        return CHALLENGE["WWW-Authenticate"]


class CallerAuthenticationScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How OpenAPI describes `CallerAuthentication`."""

    target_class = CallerAuthentication
    name = ["bearerKey", "headerKey"]

    def get_security_definition(self, _auto_schema: object) -> list[dict[str, str]]:
        """Return one scheme per header."""
        text = "An API key of one project, with the scope that the endpoint names."
        return [
            {"type": "http", "scheme": "bearer", "description": text},
            {
                "type": "apiKey",
                "in": "header",
                "name": "X-API-Key",
                "description": text,
            },
        ]


def _unauthenticated(code: ErrorCode, message: str) -> ApiError:
    return ApiError(401, code, message, headers=CHALLENGE)


def _presented_key(headers: Mapping[str, str]) -> str | None:
    authorization = headers.get("Authorization", "").strip()
    if not authorization:
        return headers.get("X-API-Key")
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise _unauthenticated(
            ErrorCode.INVALID_KEY,
            "Authorization must be `Bearer sk_sentinel_…`; other schemes are not accepted.",
        )
    return text.strip()


def caller_of_key(text: str) -> Caller:
    """Return who holds a key; raise the 401 that says why it is refused."""
    now = timezone.now()
    token = keys.parse(text)
    if token is None:
        raise _unauthenticated(
            ErrorCode.INVALID_KEY,
            "This is not a Sentinel API key; keys look like sk_sentinel_<12 characters>_<49 characters>.",
        )
    key = ApiKey.objects.select_related("project").filter(prefix=token.prefix).first()
    if key is None or not token.matches(key.digest):
        raise _unauthenticated(ErrorCode.INVALID_KEY, "This API key does not exist.")
    _refuse_ended(key, now=now)
    key.touch(now)
    return Caller(key.project, frozenset(key.scopes))


def _refuse_ended(key: ApiKey, *, now: datetime) -> None:
    if key.revoked_at is not None and key.revoked_at <= now:
        message = f"This API key was revoked at {key.revoked_at:%Y-%m-%dT%H:%M:%SZ}."
        raise _unauthenticated(ErrorCode.KEY_REVOKED, message)
    if key.expires_at is not None and key.expires_at <= now:
        message = f"This API key expired at {key.expires_at:%Y-%m-%dT%H:%M:%SZ}."
        raise _unauthenticated(ErrorCode.KEY_EXPIRED, message)


def _loopback_project(request: Request) -> Project | None:
    slug = settings.SENTINEL_LOOPBACK_PROJECT
    if not slug or not _is_loopback(request.META.get("REMOTE_ADDR", "")):
        return None
    if any(name in request.headers for name in FORWARDING_HEADERS):
        return None
    if _is_foreign_page(request):
        return None
    return Project.objects.filter(slug=slug).first()


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def _is_foreign_page(request: Request) -> bool:
    """Tell whether a browser sends this for some other site's page: that site must not act as loopback."""
    origin = request.headers.get("Origin")
    if origin is not None:
        return urlsplit(origin).netloc != request.get_host()
    return request.headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"}
