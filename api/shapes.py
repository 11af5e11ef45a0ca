"""How rows look in answers. An event has the structure that SDKs send it in, so that what was sent can be compared."""

from __future__ import annotations

import math
from typing import Any

from api.queries import iso
from detection.models import Anomaly
from detection.registry import DETECTORS
from ingestion.models import DeadLetter, Event
from ingestion.withheld import why_withheld

_LABELS = {kind.method: kind.label for kind in DETECTORS}

# Present in an answer only where known.
OPTIONAL_EVENT_FIELDS = (
    "provider",
    "operation",
    "requested_model",
    "response_model",
    "response_id",
    "environment",
    "ttft_ms",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "token_source",
    "cost_source",
    "parent_span_id",
    "session_id",
    "user_id",
    "prompt_template_id",
    "prompt_template_version",
    "content_mode",
    "features",
    "tool_calls",
    "retrieved_context",
    "sdk_name",
    "sdk_version",
    "pii",
    "flags",
)


def event_shape(event: Event) -> dict[str, Any]:
    """Return a stored event: the documented fields always, the optional ones where known."""
    shape: dict[str, Any] = {
        "event_id": str(event.event_id),
        "timestamp": iso(event.timestamp),
        "service_name": event.service,
        "model": event.model,
        "trace_id": event.trace_id,
        "span_id": event.span_id,
        "prompt": _side(event.prompt_text, event.prompt_tokens, event.prompt_length, event.prompt_embedding),
        "response": {
            **_side(event.response_text, event.completion_tokens, event.response_length, event.response_embedding),
            "finish_reason": event.finish_reason,
        },
        "latency_ms": event.latency_ms,
        "cost_usd": event.cost_usd,
        "metadata": event.metadata or {},
        "errors": event.errors or [],
        "total_tokens": event.total_tokens,
        "sample_weight": event.sample_weight,
        "ingested_at": iso(event.ingested_at),
    }
    values = ((name, getattr(event, name)) for name in OPTIONAL_EVENT_FIELDS)
    return shape | {name: value for name, value in values if value is not None}


def _side(text: str | None, tokens: int | None, length: int | None, embedding: Any) -> dict[str, Any]:
    side = {"text": text, "tokens": tokens, "length": length}
    return side if embedding is None else side | {"embedding": embedding}


def anomaly_shape(anomaly: Anomaly) -> dict[str, Any]:
    """Return an anomaly: the documented fields first, in their order."""
    return {
        "id": str(anomaly.pk),
        "timestamp": iso(anomaly.timestamp),
        "service": anomaly.service,
        "model": anomaly.model,
        "detector": anomaly.detector,
        "metric": anomaly.metric,
        "value": _finite(anomaly.observed),
        "baseline_mean": _finite(anomaly.baseline_mean),
        "baseline_stddev": _finite(anomaly.baseline_stddev),
        "z_score": _finite(anomaly.z_score),
        "severity": anomaly.severity,
        "anomaly_type": anomaly.anomaly_type,
        "detection_method": anomaly.detection_method,
        "detectors": [_LABELS.get(name, name) for name in anomaly.detectors],
        "confidence": anomaly.confidence,
        "explanation": anomaly.explanation,
        "details": anomaly.details,
        "level": anomaly.level,
        "direction": anomaly.direction,
        "deviation": _finite(anomaly.deviation),
        "threshold": _finite(anomaly.threshold),
        "lower": _finite(anomaly.lower),
        "upper": _finite(anomaly.upper),
        "p_value": anomaly.p_value,
        "baseline_median": _finite(anomaly.baseline_median),
        "samples": anomaly.samples,
        "window_size": anomaly.window_size,
        "event_id": str(anomaly.event_id) if anomaly.event_id else None,
        "detected_at": iso(anomaly.detected_at),
    }


def _finite(number: float | None) -> float | None:
    """Return None for what JSON cannot hold."""
    return number if number is not None and math.isfinite(number) else None


def dead_letter_shape(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter with its scrubbed payload, or why there is none."""
    return {
        "id": letter.pk,
        "created_at": iso(letter.created_at),
        "topic": letter.cursor.topic,
        "partition": letter.cursor.partition,
        "offset": letter.log_offset,
        "records": letter.records,
        "log_time": iso(letter.log_time),
        "stage": letter.stage,
        "reason": letter.reason,
        "field": letter.field,
        "message": letter.message,
        "size_bytes": letter.size_bytes,
        "sha256": bytes(letter.sha256).hex(),
        "payload": letter.payload,
        "payload_cut": letter.payload_cut,
        "payload_withheld": why_withheld(letter),
        "status": letter.status,
        "replayed_at": iso(letter.replayed_at) if letter.replayed_at else None,
    }
