"""The anomalies as OpenAPI describes them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers

from api.documentation.telemetry import EventShape
from detection.kinds import AnomalyType, DetectionMethod, Level

DESCRIPTION = (
    "Anomalies, newest first. `severity` takes low, medium, high, critical, or several of them separated by commas; "
    "`info` and `warning` mean low and medium. `count` is the number of anomalies in this answer; the address of the "
    "next page is in the `Link` header."
)
RECENT_DESCRIPTION = "The last anomalies of any severity, as far back as the project keeps its data."
ONE_DESCRIPTION = "One anomaly, with the event that it is about while that is stored."


class AnomalyShape(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    timestamp = serializers.DateTimeField(help_text="Of the event, or the end of the window.")
    service = serializers.CharField()
    model = serializers.CharField()
    detector = serializers.CharField(help_text="zscore, iqr, mad, cusum or another: `detection_method` as documented.")
    metric = serializers.CharField()
    value = serializers.FloatField(allow_null=True, help_text="Observed, in the metric's unit.")
    baseline_mean = serializers.FloatField(allow_null=True)
    baseline_stddev = serializers.FloatField(allow_null=True)
    z_score = serializers.FloatField(allow_null=True, help_text="Null where the baseline has no spread.")
    severity = serializers.ChoiceField(choices=["low", "medium", "high", "critical"])
    anomaly_type = serializers.ChoiceField(choices=[kind.value for kind in AnomalyType])
    detection_method = serializers.ChoiceField(choices=[method.value for method in DetectionMethod])
    detectors = serializers.ListField(child=serializers.CharField(), help_text="Every detector that fired.")
    confidence = serializers.FloatField(help_text="1 - p, shrunk by the sample size.")
    explanation = serializers.CharField(help_text="A sentence that says what happened.")
    details = serializers.DictField()
    level = serializers.ChoiceField(choices=[level.value for level in Level])
    direction = serializers.CharField(allow_blank=True)
    deviation = serializers.FloatField(allow_null=True, help_text="Signed score of the detection method.")
    threshold = serializers.FloatField(allow_null=True, help_text="The deviation beyond which the method fires.")
    lower = serializers.FloatField(allow_null=True)
    upper = serializers.FloatField(allow_null=True)
    p_value = serializers.FloatField(allow_null=True)
    baseline_median = serializers.FloatField(allow_null=True)
    samples = serializers.IntegerField(allow_null=True)
    window_size = serializers.IntegerField(allow_null=True)
    event_id = serializers.UUIDField(allow_null=True)
    detected_at = serializers.DateTimeField()


class AnomalyWithEvent(AnomalyShape):
    event = EventShape(allow_null=True, help_text="Null where it concerns a window, or the event is not kept any more.")


class AnomaliesPage(serializers.Serializer[Any]):
    anomalies = AnomalyShape(many=True)
    count = serializers.IntegerField()


_ANOMALY = {
    "id": "c0a8e6f2-6b0e-5a0e-9d55-3f0a3b1f6d10",
    "timestamp": "2024-11-06T10:25:00Z",
    "service": "chat-api",
    "model": "gpt-4",
    "detector": "zscore",
    "metric": "latency_ms",
    "value": 15234.5,
    "baseline_mean": 1234.5,
    "baseline_stddev": 234.2,
    "z_score": 59.8,
    "severity": "critical",
    "anomaly_type": "latency_spike",
    "detection_method": "z_score",
    "detectors": ["zscore", "iqr", "mad"],
    "confidence": 0.999,
    "explanation": "Latency of 15,234.5 ms, 12.3 times the baseline's mean of 1,234.5 ms.",
    "details": {"flat": False, "q1": 1080.2, "q3": 1388.9, "mad": 154.1},
    "level": "record",
    "direction": "above",
    "deviation": 59.8,
    "threshold": 3.0,
    "lower": 531.9,
    "upper": 1937.1,
    "p_value": 0.0,
    "baseline_median": 1205.3,
    "samples": 1000,
    "window_size": 1000,
    "event_id": "7f6c1c6e-3a8e-4f5e-9c0b-0d6f3f1d2a11",
    "detected_at": "2024-11-06T10:25:00.412Z",
}
EXAMPLE = OpenApiExample(
    "One anomaly",
    value={"anomalies": [_ANOMALY], "count": 1},
    response_only=True,
    status_codes=["200"],
)
ONE_EXAMPLE = OpenApiExample(
    "An anomaly whose event is gone", value=_ANOMALY | {"event": None}, response_only=True, status_codes=["200"]
)
