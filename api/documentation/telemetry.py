"""GET /api/v1/telemetry as OpenAPI describes it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers

DESCRIPTION = (
    "Stored events, newest first, after validation and scrubbing. `count` is the number of events in this answer. "
    'Where there are more, the `Link` header has the address of the next page: `<…>; rel="next"`.'
)


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


EXAMPLE = OpenApiExample(
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
