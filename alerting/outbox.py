"""Writes the outbox inside the ingest transaction: anomaly and alert are committed together or not at all."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
import psycopg2.extensions
from psycopg2.extras import execute_values

from alerting.candidate import AlertCandidate
from alerting.reasons import EntryStatus, SuppressionReason
from alerting.rules import RuleSnapshot

PAGE_ROWS = 1_000
# Of one window in one batch: the earliest, and one that alerts instead should that one be given up (alerting.claim).
PENDING_PER_WINDOW = 2

_INSERT = """
INSERT INTO alerting_outboxentry (
    id, rule_id, project_id, anomaly_id, service, model, anomaly_type, severity,
    anomaly_timestamp, window_start, anomaly, test, status, suppression_reason, failure_reason
) VALUES %s
ON CONFLICT (id) DO NOTHING
RETURNING suppression_reason
"""
_TEMPLATE = (
    "(%s::uuid, %s, %s, %s::uuid, %s, %s, %s, %s, %s::timestamptz, %s::timestamptz, %s::jsonb, false, %s, %s, '')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueued:
    """What one call added; pass `suppressed` to `alerting.metrics.count_suppressed` once it is committed."""

    pending: int = 0
    suppressed: Mapping[SuppressionReason, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.pending + sum(self.suppressed.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Match:
    id: uuid.UUID
    rule: RuleSnapshot
    candidate: AlertCandidate
    window_start: datetime


def entry_id(anomaly_id: uuid.UUID, rule_id: int) -> uuid.UUID:
    """Return the id of the alert that this rule makes of this anomaly: uuid5(anomaly id, rule id)."""
    return uuid.uuid5(anomaly_id, str(rule_id))


def enqueue(
    connection: psycopg2.extensions.connection,
    candidates: Sequence[AlertCandidate],
    rules: Sequence[RuleSnapshot],
    *,
    now: datetime,
) -> Enqueued:
    """Add an entry for every (anomaly, rule) that match; entries that exist already stay as they are.

    Anomalies older than the rule allows are entered as suppressed (`stale`), so that a backfill pages nobody; of the
    anomalies of one window within `candidates` only the earliest `PENDING_PER_WINDOW` are entered as pending, the others
    as suppressed (`duplicate_in_window`); which of the pending ones is sent is decided when they are claimed. Rows are
    inserted in the order of their ids, so that transactions that meet wait for each other but never in a circle. Neither
    commits nor rolls back.
    """
    matches = sorted(_matches(candidates, rules), key=lambda match: (match.candidate.timestamp, match.id))
    if not matches:
        return Enqueued()
    rows = sorted(_rows(matches, now=now), key=lambda row: str(row[0]))
    with connection.cursor() as cursor:
        inserted = execute_values(cursor, _INSERT, rows, template=_TEMPLATE, page_size=PAGE_ROWS, fetch=True)
    suppressed: dict[SuppressionReason, int] = {}
    for (reason,) in inserted:
        if reason:
            suppressed[SuppressionReason(reason)] = suppressed.get(SuppressionReason(reason), 0) + 1
    return Enqueued(pending=len(inserted) - sum(suppressed.values()), suppressed=suppressed)


def _matches(candidates: Sequence[AlertCandidate], rules: Sequence[RuleSnapshot]) -> Iterator[_Match]:
    for rule in rules:
        for candidate in candidates:
            if rule.matches(candidate):
                yield _Match(
                    id=entry_id(candidate.anomaly_id, rule.id),
                    rule=rule,
                    candidate=candidate,
                    window_start=rule.window_start(candidate.timestamp),
                )


def _rows(matches: Sequence[_Match], *, now: datetime) -> Iterator[tuple[object, ...]]:
    """Yield the rows to insert; `matches` are in the order of their anomalies' time."""
    pending: Counter[tuple[object, ...]] = Counter()
    for match in matches:
        anomaly = match.candidate
        key = (
            match.rule.id,
            anomaly.project_id,
            anomaly.service,
            anomaly.model,
            anomaly.anomaly_type,
            match.window_start,
        )
        reason = _suppression(match, earlier=pending[key], now=now)
        if reason is None:
            pending[key] += 1
        yield (
            str(match.id),
            match.rule.id,
            anomaly.project_id,
            str(anomaly.anomaly_id),
            anomaly.service,
            anomaly.model,
            anomaly.anomaly_type,
            anomaly.severity,
            anomaly.timestamp,
            match.window_start,
            "{}" if reason else encode_anomaly(anomaly),
            (EntryStatus.SUPPRESSED if reason else EntryStatus.PENDING).value,
            reason.value if reason else "",
        )


def _suppression(match: _Match, *, earlier: int, now: datetime) -> SuppressionReason | None:
    """Return why `match` is not to be sent, if so; `earlier` entries of its window are pending by this batch already."""
    if match.rule.is_stale(match.candidate.timestamp, now=now):
        return SuppressionReason.STALE
    if earlier >= PENDING_PER_WINDOW:
        return SuppressionReason.DUPLICATE_IN_WINDOW
    return None


def encode_anomaly(anomaly: AlertCandidate) -> str:
    """Return the JSON of what the alert's body shows of an anomaly, as it was when it was found."""
    return msgspec.json.encode(
        {
            "id": anomaly.anomaly_id,
            "event_id": anomaly.event_id,
            "timestamp": anomaly.timestamp,
            "anomaly_type": anomaly.anomaly_type,
            "severity": anomaly.severity,
            "service": anomaly.service,
            "model": anomaly.model,
            "metric": anomaly.metric,
            "detection_method": anomaly.detection_method,
            "observed": anomaly.observed,
            "expected": anomaly.expected,
            "confidence": anomaly.confidence,
            "explanation": anomaly.explanation,
            "details": anomaly.details,
        },
        enc_hook=_plain,
    ).decode()


def _plain(value: object) -> object:
    """Return a NumPy scalar as Python's own; msgspec writes what is not finite as null."""
    item = getattr(value, "item", None)
    if item is None:
        raise TypeError(f"an anomaly's details hold a {type(value).__name__}")
    plain: object = item()
    return plain
