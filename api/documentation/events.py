"""POST /api/v1/events as OpenAPI describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter
from rest_framework import serializers

from api.documentation import errors
from ingestion.schema import event_schema

DESCRIPTION = (
    'Send one event, a JSON array of events, an envelope `{"events": [...]}`, or one event per line '
    "(`application/x-ndjson`), at most 10 MB after decompression and 1,000,000 bytes an event. "
    "`Content-Encoding` may be gzip or zstd. Every event is judged alone and scrubbed before it is written to the log; "
    "202 means that what was accepted is durable, also where other events of the batch were rejected, and that it is "
    "stored within about a second. 422 means that no event was accepted. `timestamp` is required. An event without "
    "`event_id` gets one; with an `Idempotency-Key` header it is derived from the key and the position in the batch, "
    "so that the same request may be sent again: an event counts once per project, id and timestamp."
)

PARAMETERS = [
    OpenApiParameter(
        "Idempotency-Key",
        str,
        OpenApiParameter.HEADER,
        description="1 to 255 printable characters, new for every batch: sent again with it, the batch counts once.",
    ),
    OpenApiParameter("Content-Encoding", str, OpenApiParameter.HEADER, enum=["gzip", "zstd"]),
]


def openapi_schema(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Return a JSON Schema (2020-12) in the dialect of OpenAPI 3.0: references inlined, null as `nullable`."""
    if isinstance(schema, list):
        return [openapi_schema(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = definitions[schema["$ref"].rpartition("/")[2]]
        return openapi_schema({**target, **{k: v for k, v in schema.items() if k != "$ref"}}, definitions)
    kept = {key: openapi_schema(value, definitions) for key, value in schema.items() if key not in {"$schema", "$defs"}}
    if not kept.get("required", True):
        del kept["required"]  # which must not be empty there
    if "exclusiveMinimum" in kept:
        kept |= {"minimum": kept["exclusiveMinimum"], "exclusiveMinimum": True}
    choices = kept.get("anyOf", [])
    others = [choice for choice in choices if choice != {"type": "null"}]
    if len(others) == len(choices):
        return kept
    rest = {key: value for key, value in kept.items() if key != "anyOf"}
    merged = {**others[0], **rest} if len(others) == 1 else {"anyOf": others, **rest}
    return {**merged, "nullable": True}


def _request() -> dict[str, Any]:
    schema = event_schema()
    event = openapi_schema(schema, schema["$defs"])
    producer = {
        "type": "object",
        "description": "Who sends, so that lost events are noticed; `sequence` is that of the first event.",
        "required": ["id", "epoch", "sequence"],
        "properties": {
            "id": {"type": "string"},
            "epoch": {"type": "integer"},
            "sequence": {"type": "integer"},
            "counters": {"type": "object", "additionalProperties": {"type": "integer"}},
        },
    }
    envelope = {
        "type": "object",
        "required": ["events"],
        "properties": {"events": {"type": "array", "items": event}, "producer": producer},
    }
    body = {"oneOf": [event, {"type": "array", "items": event}, envelope]}
    return {"application/json": body, "application/x-ndjson": {"type": "string", "description": "One event per line."}}


REQUEST = _request()


class ResultShape(serializers.Serializer[Any]):
    index = serializers.IntegerField(help_text="The event's position in the body, from 0.")
    status = serializers.ChoiceField(choices=["accepted", "rejected"])
    event_id = serializers.UUIDField(required=False, help_text="Of an accepted event.")
    late = serializers.CharField(
        required=False, help_text="Accepted, but too old or too far in the future to be counted."
    )
    reason = serializers.CharField(required=False, help_text="Of a rejected event.")
    field = serializers.CharField(required=False)
    message = serializers.CharField(required=False)


class Verdicts(serializers.Serializer[Any]):
    accepted = serializers.IntegerField()
    rejected = serializers.IntegerField()
    results = ResultShape(many=True)


class NoneAccepted(errors.ErrorEnvelope):
    accepted = serializers.IntegerField()
    rejected = serializers.IntegerField()
    results = ResultShape(many=True)


RESPONSES: dict[int, Any] = {
    202: Verdicts,
    400: errors.error(
        "The body is no JSON, or not what its encoding says.", "invalid_body", "the body is not valid JSON"
    ),
    **errors.AUTHENTICATION_ERRORS,
    413: errors.error(
        "The body is larger than the limit, which the message states.",
        "payload_too_large",
        "The body has more than 10485760 bytes, counted after decompression; send smaller batches.",
    ),
    415: errors.error(
        "Another Content-Type or Content-Encoding than the accepted ones.",
        "unsupported_media_type",
        "Content-Type must be application/json, or application/x-ndjson for one event per line; it is text/plain.",
    ),
    422: NoneAccepted,
    503: errors.LOG_UNAVAILABLE,
}
_EVENT = {
    "event_id": "7f6c1c6e-3a8e-4f5e-9c0b-0d6f3f1d2a11",
    "timestamp": "2024-11-06T10:25:00Z",
    "service_name": "chat-api",
    "model": "gpt-4",
    "prompt": {"text": "What is the capital of France?", "tokens": 10},
    "response": {"text": "Paris.", "tokens": 20, "finish_reason": "stop"},
    "latency_ms": 150.5,
    "cost_usd": 0.001,
    "metadata": {"region": "eu"},
    "errors": [],
}
_RESULTS = [
    {"index": 0, "status": "accepted", "event_id": "7f6c1c6e-3a8e-4f5e-9c0b-0d6f3f1d2a11"},
    {
        "index": 1,
        "status": "rejected",
        "reason": "missing_field",
        "field": "latency_ms",
        "message": "latency_ms is required",
    },
]
EXAMPLES = [
    OpenApiExample("One event", value=_EVENT, request_only=True, media_type="application/json"),
    OpenApiExample("A batch", value={"events": [_EVENT]}, request_only=True, media_type="application/json"),
    OpenApiExample(
        "One of two accepted",
        value={"accepted": 1, "rejected": 1, "results": _RESULTS},
        response_only=True,
        status_codes=["202"],
    ),
]
