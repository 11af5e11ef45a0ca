"""From anomalies to outbox rows, inside the ingest transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from alerting.candidate import AlertCandidate
from alerting.outbox import Enqueued, enqueue
from alerting.rules import load_rules
from detection.detect import AnomalyRow
from detection.severity import Severity


def enqueue_alerts(project_id: int, anomalies: Sequence[AnomalyRow], *, now: datetime) -> Enqueued:
    """Write outbox rows for the anomalies that a rule asks for; the others are not even looked at.

    `now` decides what is stale: the database's clock, so that no worker's wrong one silences an alert.
    """
    rules = load_rules([project_id]) if anomalies else []
    if not rules:
        return Enqueued()
    lowest = min(Severity(rule.min_severity).rank for rule in rules)
    candidates = [_candidate(row) for row in anomalies if Severity(row.severity).rank >= lowest]
    return enqueue(connection.connection, candidates, rules, now=now)


def _candidate(row: AnomalyRow) -> AlertCandidate:
    return AlertCandidate(
        anomaly_id=row.id,
        project_id=row.project_id,
        service=row.service,
        model=row.model,
        anomaly_type=row.anomaly_type,
        severity=row.severity,
        timestamp=row.timestamp,
        metric=row.metric,
        observed=row.observed,
        expected=row.baseline_mean,
        confidence=row.confidence,
        detection_method=row.detection_method,
        explanation=row.explanation,
        event_id=row.event_id,
        details={"detectors": row.detectors, "z_score": row.z_score, "samples": row.samples},
    )
