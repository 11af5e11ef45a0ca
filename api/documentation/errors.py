"""Errors as OpenAPI describes them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework import serializers


class FieldProblem(serializers.Serializer[Any]):
    field = serializers.CharField(help_text="A parameter, a header or a JSON path such as `prompt.tokens`.")
    reason = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    code = serializers.CharField(help_text="For programs; stable.")
    message = serializers.CharField(help_text="For people; may change.")
    fields = FieldProblem(many=True)  # type: ignore[assignment]  # the documented name


class ErrorEnvelope(serializers.Serializer[Any]):
    """Every error of the API."""

    error = Problem()


def error(description: str, code: str, message: str, fields: list[dict[str, str]] | None = None) -> OpenApiResponse:
    """Return the documentation of an error answer."""
    body = {"error": {"code": code, "message": message, "fields": fields or []}}
    example = OpenApiExample(code, value=body, response_only=True)
    return OpenApiResponse(ErrorEnvelope, description=description, examples=[example])


AUTHENTICATION_ERRORS: dict[int, OpenApiResponse] = {
    401: error("No key, or one that is wrong, revoked or expired.", "invalid_key", "This API key does not exist."),
    403: error("The key lacks the scope.", "missing_scope", "This endpoint needs the scope read; the key has: ingest."),
}
UNAVAILABLE = error(
    "The query was too slow (`query_timeout`) or PostgreSQL is away; `Retry-After` says when to try again.",
    "query_timeout",
    "The query took too long and was stopped. Ask for fewer `hours`, or name a `service` and a `model`.",
)
READ_ERRORS: dict[int, OpenApiResponse] = {
    400: error(
        "A parameter is wrong.",
        "invalid_parameter",
        "limit: Ensure this value is less than or equal to 1000.",
        [{"field": "limit", "reason": "Ensure this value is less than or equal to 1000."}],
    ),
    **AUTHENTICATION_ERRORS,
    503: UNAVAILABLE,
}
NOT_FOUND = error("It does not exist in the key's project.", "not_found", "Anomaly not found.")


LOG_UNAVAILABLE = error(
    "The log does not answer; `Retry-After` says when to try again.",
    "log_unavailable",
    "The log did not confirm that everything is durable; send the same events with the same ids again.",
)
REPLAY_UNAVAILABLE = error(
    "The log (`log_unavailable`) or PostgreSQL (`database_unavailable`) does not answer; the letter stays open, and the "
    "message says whether it may be in the log nevertheless. `Retry-After` says when to try again.",
    "log_unavailable",
    "Dead letter 17 is not marked as replayed: the log did not confirm it; it stays open, and may be in the log nevertheless.",
)
NOT_REPLAYABLE = error(
    "It was replayed before, or its payload was not kept whole (`not_replayable`), or somebody else is replaying it at "
    "this moment (`being_replayed`, with `Retry-After`).",
    "not_replayable",
    "Dead letter 17 cannot be replayed: it was replayed at 2024-11-06 10:25:00 UTC.",
)
