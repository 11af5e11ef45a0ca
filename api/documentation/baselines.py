"""GET /api/v1/baselines as OpenAPI describes it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers

DESCRIPTION = (
    "The baseline of every metric of every series (service and model), as of the last checkpoint, which is written "
    "every 60 seconds. A series that arrives through several partitions is merged from their windows. A page holds "
    "whole series; the address of the next one is in the `Link` header."
)


class BaselineShape(serializers.Serializer[Any]):
    key = serializers.CharField(help_text="service:model:metric")
    samples = serializers.IntegerField(help_text="Values in the window.")
    mean = serializers.FloatField()
    stddev = serializers.FloatField(help_text="Of the population (ddof 0).")
    median = serializers.FloatField()
    p95 = serializers.FloatField()
    p99 = serializers.FloatField()


class BaselinesPage(serializers.Serializer[Any]):
    baselines = BaselineShape(many=True)


EXAMPLE = OpenApiExample(
    "One baseline",
    response_only=True,
    status_codes=["200"],
    value={
        "baselines": [
            {
                "key": "chat-api:gpt-4:latency_ms",
                "samples": 1000,
                "mean": 1234.5,
                "stddev": 234.2,
                "median": 1205.3,
                "p95": 1687.2,
                "p99": 2103.4,
            }
        ]
    },
)
