"""Events and anomalies as lines of a terminal and as JSON objects."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detection.models import Anomaly
    from ingestion.models import Event

SEVERITY_STYLES = {"low": "dim", "medium": "yellow", "high": "red", "critical": "bold red"}


def anomaly_document(anomaly: Anomaly) -> dict[str, Any]:
    """Return an anomaly as the demo's document and `tail --json` show it."""
    return {
        "id": str(anomaly.pk),
        "event_id": str(anomaly.event_id) if anomaly.event_id else None,
        "timestamp": iso(anomaly.timestamp),
        "detected_at": iso(anomaly.detected_at),
        "service": anomaly.service,
        "model": anomaly.model,
        "metric": anomaly.metric,
        "anomaly_type": anomaly.anomaly_type,
        "severity": anomaly.severity,
        "confidence": anomaly.confidence,
        "detection_method": anomaly.detection_method,
        "details": {
            "observed": anomaly.observed,
            "direction": anomaly.direction,
            "detectors": anomaly.detectors,
            "deviation": anomaly.deviation,
            "threshold": anomaly.threshold,
            "lower": anomaly.lower,
            "upper": anomaly.upper,
            "z_score": anomaly.z_score,
            "p_value": anomaly.p_value,
            "baseline": {
                "mean": anomaly.baseline_mean,
                "stddev": anomaly.baseline_stddev,
                "median": anomaly.baseline_median,
                "samples": anomaly.samples,
                "window_size": anomaly.window_size,
            },
            **anomaly.details,
        },
        "explanation": anomaly.explanation,
    }


def event_document(event: Event) -> dict[str, Any]:
    """Return an event's figures; its texts are left to the API."""
    return {
        "event_id": str(event.event_id),
        "timestamp": iso(event.timestamp),
        "ingested_at": iso(event.ingested_at),
        "service": event.service,
        "model": event.model,
        "latency_ms": event.latency_ms,
        "prompt_tokens": event.prompt_tokens,
        "completion_tokens": event.completion_tokens,
        "cost_usd": event.cost_usd,
        "has_errors": event.has_errors,
        "pii": event.pii,
        "flags": event.flags,
    }


def anomaly_line(anomaly: Anomaly) -> str:
    """Return time, severity, series and explanation."""
    series = f"{anomaly.service}/{anomaly.model}"
    return f"{clock(anomaly.timestamp)}  {anomaly.severity:<8}  {series:<28}  {anomaly.explanation}"


def event_line(event: Event) -> str:
    """Return time, series, latency, tokens, cost, and what was noticed about the event."""
    series = f"{event.service}/{event.model}"
    tokens = f"{_figure(event.prompt_tokens)}+{_figure(event.completion_tokens)}"
    cost = "-" if event.cost_usd is None else f"${event.cost_usd:.5f}"
    notes = [f"scrubbed {kind} x{count}" for kind, count in (event.pii or {}).items()]
    notes += ["error"] if event.has_errors else []
    notes += event.flags or []
    return (
        f"{clock(event.timestamp)}  event     {series:<28}  {event.latency_ms:>9,.0f} ms  {tokens:>12} tokens  {cost:>9}"
        + (f"  {', '.join(notes)}" if notes else "")
    )


def _figure(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1_000:03d}"


def iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
