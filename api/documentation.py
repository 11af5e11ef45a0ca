"""What OpenAPI says about answers: shapes, examples, errors. `tests/api` checks real answers against it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework import serializers

TELEMETRY = (
    "Stored events, newest first, after validation and scrubbing. `count` is the number of events in this answer. "
    'Where there are more, the `Link` header has the address of the next page: `<…>; rel="next"`.'
)
ANOMALIES = (
    "Anomalies, newest first. `severity` takes low, medium, high, critical, or several of them separated by commas; "
    "`info` and `warning` mean low and medium. `count` is the number of anomalies in this answer; the next page is in "
    "the `Link` header."
)
RECENT = "The last anomalies of any severity, as far back as the project keeps its data."
BASELINES = (
    "The statistical baseline of every metric of every series (service and model), ordered by key. A series that "
    "arrives through several partitions is merged: samples, mean and standard deviation exactly, quantiles from the "
    "joined windows."
)
EVENTS = (
    'Send one event, a JSON array of events, an envelope `{"events": [...]}`, or one event per line '
    "(`application/x-ndjson`), at most 10 MB after decompression and 1,000,000 bytes an event. "
    "`Content-Encoding` may be gzip or zstd. Every event is judged alone and scrubbed before it is written to the log; "
    "202 means that what was accepted is durable, also where other events of the batch were rejected, and that it is "
    "stored within about a second. 422 means that no event was accepted. `timestamp` is required. An event without "
    "`event_id` gets one; with an `Idempotency-Key` header it is derived from the key and the position in the batch, "
    "so that the same request may be sent again: an event counts once per project, id and timestamp."
)
DEAD_LETTERS = "Records that were rejected, newest first, with the reason and the scrubbed payload."
REPLAY = (
    "Append the payload of a dead letter to the log again, for instance after its sender's project got other limits. "
    "Needs the scope `admin`."
)


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


def paged(body: type[serializers.Serializer[Any]]) -> OpenApiResponse:
    """Return the documentation of a page."""
    return OpenApiResponse(body, description="A page; the `Link` header has the address of the next one, if any.")


class PromptShape(serializers.Serializer[Any]):
    text = serializers.CharField(allow_null=True, allow_blank=True, help_text="Scrubbed, and cut to the stored size.")
    tokens = serializers.IntegerField(allow_null=True, help_text="Null is unknown, not zero.")
    length = serializers.IntegerField(allow_null=True, help_text="Characters before the cut.")
    embedding = serializers.JSONField(required=False, help_text="Dimension and norm, or the vector where it is kept.")


class ResponseShape(PromptShape):
    finish_reason = serializers.CharField(allow_null=True)


class EventShape(serializers.Serializer[Any]):
    """An event as SDKs send it; optional fields only where known."""

    event_id = serializers.UUIDField()
    timestamp = serializers.DateTimeField(help_text="When the call ended, UTC.")
    service_name = serializers.CharField()
    model = serializers.CharField()
    trace_id = serializers.CharField(allow_null=True)
    span_id = serializers.CharField(allow_null=True)
    prompt = PromptShape()
    response = ResponseShape()
    latency_ms = serializers.FloatField()
    cost_usd = serializers.FloatField(allow_null=True, help_text="Null is unknown, not free.")
    metadata = serializers.DictField()
    errors = serializers.ListField()  # type: ignore[assignment]  # the documented name
    total_tokens = serializers.IntegerField(allow_null=True)
    sample_weight = serializers.FloatField()
    ingested_at = serializers.DateTimeField()


class TimeRangeShape(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()


class TelemetryPage(serializers.Serializer[Any]):
    data = EventShape(many=True)  # type: ignore[assignment]  # the documented name
    count = serializers.IntegerField()
    timeRange = TimeRangeShape()  # noqa: N815  # the documented name


TELEMETRY_EXAMPLE = OpenApiExample(
    "One event",
    response_only=True,
    status_codes=["200"],
    value={
        "data": [
            {
                "event_id": "7f6c1c6e-3a8e-4f5e-9c0b-0d6f3f1d2a11",
                "timestamp": "2024-11-06T10:25:00Z",
                "service_name": "chat-api",
                "model": "gpt-4",
                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
                "span_id": "00f067aa0ba902b7",
                "prompt": {"text": "My address is [EMAIL]", "tokens": 10, "length": 35},
                "response": {"text": "Thank you.", "tokens": 20, "length": 10, "finish_reason": "stop"},
                "latency_ms": 150.5,
                "cost_usd": 0.001,
                "metadata": {"region": "eu"},
                "errors": [],
                "total_tokens": 30,
                "sample_weight": 1.0,
                "ingested_at": "2024-11-06T10:25:00.312Z",
                "pii": {"EMAIL": 1},
            }
        ],
        "count": 1,
        "timeRange": {"start": "2024-11-05T10:30:00Z", "end": "2024-11-06T10:30:00Z"},
    },
)


class DeadLetterShape(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    topic = serializers.CharField()
    partition = serializers.IntegerField()
    offset = serializers.IntegerField()
    log_time = serializers.DateTimeField()
    stage = serializers.CharField()
    reason = serializers.CharField()
    field = serializers.CharField(allow_blank=True, help_text="A JSON path; empty for the whole record.")
    message = serializers.CharField(allow_blank=True)
    size_bytes = serializers.IntegerField()
    sha256 = serializers.CharField()
    payload = serializers.CharField(allow_blank=True, help_text="Scrubbed; empty where the scrubber is the suspect.")
    status = serializers.ChoiceField(choices=["open", "replayed"])
    replayed_at = serializers.DateTimeField(allow_null=True)


class DeadLettersPage(serializers.Serializer[Any]):
    dead_letters = DeadLetterShape(many=True)
    count = serializers.IntegerField()


DEAD_LETTERS_EXAMPLE = OpenApiExample(
    "One dead letter",
    response_only=True,
    status_codes=["200"],
    value={
        "dead_letters": [
            {
                "id": 17,
                "created_at": "2024-11-06T10:25:00.312Z",
                "topic": "llm.telemetry",
                "partition": 2,
                "offset": 4711,
                "log_time": "2024-11-06T10:25:00.104Z",
                "stage": "decode",
                "reason": "missing_field",
                "field": "latency_ms",
                "message": "latency_ms is required",
                "size_bytes": 412,
                "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "payload": '{"service_name": "chat-api"}',
                "status": "open",
                "replayed_at": None,
            }
        ],
        "count": 1,
    },
)


class Replay(serializers.Serializer[Any]):
    replayed = serializers.IntegerField()
    skipped = serializers.IntegerField()


LOG_UNAVAILABLE = error(
    "The log does not answer; `Retry-After` says when to try again.",
    "log_unavailable",
    "The log did not confirm that everything is durable; send the same events with the same ids again.",
)
NOT_REPLAYABLE = error(
    "It was replayed before, or its payload was not kept.",
    "not_replayable",
    "Dead letter 17 was replayed at 2024-11-06T10:25:00Z.",
)
