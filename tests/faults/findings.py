"""Anomalies and alerts as they are compared: verdict and baseline basis apart."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerting.candidate import AlertCandidate
from alerting.outbox import entry_id
from alerting.rules import RuleSnapshot
from detection.detect import AnomalyRow

Values = tuple[Any, ...]

VERDICT = (
    "event_id", "timestamp_us", "log_offset", "service", "model", "metric", "anomaly_type", "severity", "level",
    "detection_method", "detectors", "direction", "observed", "config_version",
)  # fmt: skip
BASIS = (
    "baseline_mean", "baseline_stddev", "baseline_median", "deviation", "threshold", "lower", "upper", "z_score",
    "p_value", "confidence", "window_size", "samples",
)  # fmt: skip
BASIS_DETAILS = ("mad", "q1", "q3", "flat")


@dataclass(frozen=True, slots=True)
class Finding:
    """An anomaly: what was said (`VERDICT`), and the numbers that it rests on (`BASIS`, then `BASIS_DETAILS`)."""

    verdict: Values
    basis: Values


@dataclass(frozen=True, slots=True)
class Alert:
    """An outbox entry that must exist. `window`: rule, service, model, anomaly type, start of the rule's window.

    Whether it is sent is left open where it depends on what was committed first; `is_stale` says what is certain.
    """

    rule: RuleSnapshot
    window: tuple[int, str, str, str, datetime]
    severity: str
    anomaly_id: uuid.UUID
    timestamp: datetime
    logged_at: datetime

    def is_stale(self, *, until: datetime) -> bool | None:
        """Tell whether it was too old when it was found, between its record's log time and `until`; None is unknown."""
        if self.rule.is_stale(self.timestamp, now=self.logged_at):
            return True
        return None if self.rule.is_stale(self.timestamp, now=until) else False


def plain(value: Any) -> Any:
    """Return a value as JSON and PostgreSQL give it back: NaN is null, a tuple a list, a number Python's own."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, uuid.UUID):
        return str(value)
    return tuple(value) if isinstance(value, list) else value


def finding_of(row: AnomalyRow) -> Finding:
    return Finding(
        tuple(plain(getattr(row, name)) for name in VERDICT),
        tuple(plain(getattr(row, name)) for name in BASIS) + tuple(plain(row.details[name]) for name in BASIS_DETAILS),
    )


def alerts_of(
    row: AnomalyRow, rules: Sequence[RuleSnapshot], *, logged_at: datetime
) -> Iterator[tuple[uuid.UUID, Alert]]:
    """Yield the outbox entries, by id, that the rules make of an anomaly."""
    candidate = AlertCandidate(
        anomaly_id=row.id,
        project_id=row.project_id,
        service=row.service,
        model=row.model,
        anomaly_type=row.anomaly_type,
        severity=row.severity,
        timestamp=row.timestamp,
        metric=row.metric,
    )
    for rule in rules:
        if rule.matches(candidate):
            window = (rule.id, row.service, row.model, row.anomaly_type, rule.window_start(row.timestamp))
            yield entry_id(row.id, rule.id), Alert(rule, window, row.severity, row.id, row.timestamp, logged_at)
