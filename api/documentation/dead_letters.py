"""The dead letters as OpenAPI describes them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers

DESCRIPTION = "Records that were rejected or set aside, newest first, with the reason and the scrubbed payload, or why there is none."
REPLAY_DESCRIPTION = (
    "Append the payload of a dead letter to the log again, for instance after its sender's project got other limits. "
    "Where the answer is lost, ask again: an event is stored once however often it is replayed, anything else may get "
    "another dead letter. Needs the scope `admin`."
)


class DeadLetterShape(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    topic = serializers.CharField()
    partition = serializers.IntegerField()
    offset = serializers.IntegerField()
    records = serializers.IntegerField(help_text="More than 1: so many were counted from here on, over the quota.")
    log_time = serializers.DateTimeField()
    stage = serializers.CharField()
    reason = serializers.CharField()
    field = serializers.CharField(allow_blank=True, help_text="A JSON path; empty for the whole record.")
    message = serializers.CharField(allow_blank=True)
    size_bytes = serializers.IntegerField()
    sha256 = serializers.CharField()
    payload = serializers.CharField(allow_blank=True, help_text="Scrubbed; empty where it was not kept.")
    payload_cut = serializers.BooleanField(help_text="It was too long to keep whole, and cannot be replayed.")
    payload_withheld = serializers.CharField(allow_null=True, help_text="Why the payload was not kept.")
    status = serializers.ChoiceField(choices=["open", "replayed"])
    replayed_at = serializers.DateTimeField(allow_null=True)


class DeadLettersPage(serializers.Serializer[Any]):
    dead_letters = DeadLetterShape(many=True)
    count = serializers.IntegerField()


EXAMPLE = OpenApiExample(
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
                "records": 1,
                "log_time": "2024-11-06T10:25:00.104Z",
                "stage": "decode",
                "reason": "missing_field",
                "field": "latency_ms",
                "message": "latency_ms is required",
                "size_bytes": 412,
                "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "payload": '{"service_name": "chat-api"}',
                "payload_cut": False,
                "payload_withheld": None,
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
