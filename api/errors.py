"""One error envelope for the whole API: `{"error": {"code", "message", "fields": [{"field", "reason"}]}}`."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import structlog
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response

from ingestion.log.base import LogUnavailable

log = structlog.get_logger(__name__)

RETRY_AFTER_SECONDS = 5
QUERY_CANCELLED = "57014"  # SQLSTATE of a statement_timeout


class ErrorCode(enum.StrEnum):
    """What programs may branch on; the message is for people and may change."""

    INVALID_PARAMETER = "invalid_parameter"
    INVALID_BODY = "invalid_body"
    NO_EVENT_ACCEPTED = "no_event_accepted"
    NOT_AUTHENTICATED = "not_authenticated"
    INVALID_KEY = "invalid_key"
    KEY_EXPIRED = "key_expired"
    KEY_REVOKED = "key_revoked"
    MISSING_SCOPE = "missing_scope"
    NOT_FOUND = "not_found"
    NOT_REPLAYABLE = "not_replayable"
    BEING_REPLAYED = "being_replayed"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_ACCEPTABLE = "not_acceptable"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    INTERNAL_ERROR = "internal_error"
    QUERY_TIMEOUT = "query_timeout"
    DATABASE_UNAVAILABLE = "database_unavailable"
    LOG_UNAVAILABLE = "log_unavailable"


class FieldError(NamedTuple):
    """One field that is wrong. `field` is a parameter, a header or a JSON path."""

    field: str
    reason: str


class ApiError(Exception):
    """Raise to answer a request with `status` and the envelope."""

    def __init__(
        self,
        status: int,
        code: ErrorCode,
        message: str,
        *,
        fields: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = tuple(fields)
        self.headers = dict(headers or {})


def envelope(code: ErrorCode, message: str, fields: Sequence[FieldError] = ()) -> dict[str, Any]:
    """Return the body of an error answer."""
    return {
        "error": {
            "code": code.value,
            "message": message,
            "fields": [field._asdict() for field in fields],
        }
    }


def invalid_parameter(field: str, reason: str) -> ApiError:
    """Return the 400 for one wrong parameter."""
    error = FieldError(field, reason)
    return ApiError(400, ErrorCode.INVALID_PARAMETER, f"{field}: {reason}", fields=[error])


def not_found(what: str) -> ApiError:
    """Return the 404 for something that does not exist or belongs to another project: callers cannot tell which."""
    return ApiError(404, ErrorCode.NOT_FOUND, f"{what} not found.")


def answer_exception(error: Exception, _context: Mapping[str, Any]) -> Response | None:
    """DRF's exception handler. None lets the error go on to Django, which logs it and answers 500."""
    translated = _translate(error)
    if translated is None:
        return None
    body = envelope(translated.code, translated.message, translated.fields)
    return Response(body, status=translated.status, headers=translated.headers)


def _translate(error: Exception) -> ApiError | None:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, LogUnavailable):
        return _log_error(error)
    if isinstance(error, OperationalError | InterfaceError):
        return _database_error(error)
    if isinstance(error, exceptions.ValidationError):
        return _validation_error(error)
    if isinstance(error, Http404):
        return not_found("Resource")
    if isinstance(error, PermissionDenied):
        return ApiError(403, ErrorCode.MISSING_SCOPE, "Not allowed.")
    if isinstance(error, exceptions.APIException):
        return _framework_error(error)
    return None


def _database_error(error: Exception) -> ApiError:
    retry = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    if getattr(error.__cause__, "pgcode", None) == QUERY_CANCELLED:
        message = "The query took too long and was stopped. Ask for fewer `hours`, or name a `service` and a `model`."
        return ApiError(503, ErrorCode.QUERY_TIMEOUT, message, headers=retry)
    log.error("database unavailable", error=type(error).__name__)
    message = "PostgreSQL does not answer; try again."
    return ApiError(503, ErrorCode.DATABASE_UNAVAILABLE, message, headers=retry)


def _log_error(error: LogUnavailable) -> ApiError:
    log.error("log unavailable", error=str(error))
    message = "The log did not confirm that everything is durable; send the same events with the same ids again."
    return ApiError(503, ErrorCode.LOG_UNAVAILABLE, message, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def _validation_error(error: exceptions.ValidationError) -> ApiError:
    fields = list(_flatten(error.detail, ""))
    message = "; ".join(f"{field}: {reason}" for field, reason in fields)
    return ApiError(400, ErrorCode.INVALID_PARAMETER, message, fields=fields)


def _flatten(detail: Any, field: str) -> Iterator[FieldError]:
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from _flatten(inner, f"{field}.{name}" if field else str(name))
    elif isinstance(detail, list | tuple):
        for inner in detail:
            yield from _flatten(inner, field)
    else:
        yield FieldError(field, str(detail))


FRAMEWORK_CODES = {
    401: ErrorCode.NOT_AUTHENTICATED,
    403: ErrorCode.MISSING_SCOPE,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    406: ErrorCode.NOT_ACCEPTABLE,
    415: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
}


def _framework_error(error: exceptions.APIException) -> ApiError:
    code = FRAMEWORK_CODES.get(error.status_code, ErrorCode.INVALID_BODY)
    return ApiError(error.status_code, code, str(error.detail))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404: the envelope below /api/, a page elsewhere."""
    if request.path.startswith("/api/"):
        message = "No such endpoint; /api/docs lists them all."
        return JsonResponse(envelope(ErrorCode.NOT_FOUND, message), status=404)
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500: the envelope below /api/, a page elsewhere; the log has the traceback."""
    if request.path.startswith("/api/"):
        message = "Sentinel failed; its log has the traceback."
        return JsonResponse(envelope(ErrorCode.INTERNAL_ERROR, message), status=500)
    return defaults.server_error(request)
