"""Write what detection found: verdicts become rows of `detection_anomaly`, new levels of `detection_baselineshift`.

Called inside the ingest transaction, after the events are stored and before the outbox.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
from django.db import connection, transaction
from django.db.utils import IntegrityError
from psycopg2.errorcodes import UNIQUE_VIOLATION
from psycopg2.extras import execute_values

from detection import metrics
from detection.explain import explain
from detection.fold import Rows
from detection.kinds import TYPE_OF_METRIC, Level
from detection.verdict import SeriesKey, Shift, Verdict
from ingestion import copy_text
from ingestion.copy_rows import copy_rows
from ingestion.event_batch import EventBatch

# An anomaly's id: uuid5 in this namespace over JSON [project, event id, timestamp in microseconds, metric].
ANOMALY_NAMESPACE = uuid.UUID("6f0f7a0e-5d53-5b0c-9a4c-0d8f3f1c7a11")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TABLE = "detection_anomaly"
_STAGING = f"CREATE TEMP TABLE IF NOT EXISTS anomaly_staging (LIKE {_TABLE} INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
_FROM_STAGING = f"INSERT INTO {_TABLE} SELECT * FROM anomaly_staging ORDER BY id ON CONFLICT DO NOTHING"
_INSERT_SHIFTS = """
    INSERT INTO detection_baselineshift
        (cursor_id, series_id, metric, log_offset, samples, mean_before, stddev_before, mean_after, stddev_after)
    VALUES %s ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyRow:
    """A row of `detection_anomaly`, for the alerting stage; fields as in `models.Anomaly`."""

    id: uuid.UUID
    project_id: int
    series_id: int
    service: str
    model: str
    metric: str
    timestamp_us: int
    event_id: uuid.UUID
    cursor_id: int
    log_offset: int
    anomaly_type: str
    severity: str
    level: str
    detection_method: str
    detectors: tuple[str, ...]
    direction: str
    observed: float
    baseline_mean: float
    baseline_stddev: float
    baseline_median: float
    deviation: float
    threshold: float
    lower: float | None
    upper: float | None
    z_score: float | None
    p_value: float
    confidence: float
    window_size: int
    samples: int
    details: Mapping[str, object] = field(default_factory=dict)
    config_version: int

    @property
    def timestamp(self) -> datetime:
        """When the event happened (aware, UTC)."""
        return _EPOCH + timedelta(microseconds=self.timestamp_us)

    @property
    def explanation(self) -> str:
        """The same sentence as `models.Anomaly.explanation`."""
        return explain(
            metric=self.metric,
            observed=self.observed,
            mean=self.baseline_mean,
            median=self.baseline_median,
            direction=self.direction,
            method=self.detection_method,
            deviation=self.deviation,
            threshold=self.threshold,
            flat=bool(self.details["flat"]),
            detectors=self.detectors,
            samples=self.samples,
        )


def rows_of(events: EventBatch) -> Rows:
    """Return the metric columns of new events, in the order of `detection.profile.METRICS`."""
    values = np.stack([events.latency_ms, events.total_tokens, events.cost_usd], axis=1)
    return Rows(np.array(events.offsets, np.int64), events.series_index, events.series_keys, values)


def anomaly_id(project_id: int, event_id: uuid.UUID, timestamp_us: int, metric: str) -> uuid.UUID:
    """Return the id that the anomaly of this event and metric has, whenever and by whomever it is found."""
    return uuid.uuid5(ANOMALY_NAMESPACE, json.dumps([project_id, str(event_id), timestamp_us, metric]))


def anomaly_rows(
    verdicts: Sequence[Verdict],
    events: EventBatch,
    *,
    cursor_id: int,
    series_ids: Mapping[SeriesKey, int],
    config_version: int,
) -> list[AnomalyRow]:
    """Return the rows that say these verdicts; `events` are those that `Rows` was made of, in the same order."""
    return [
        _row(verdict, events, cursor_id=cursor_id, series_ids=series_ids, config_version=config_version)
        for verdict in verdicts
    ]


def _row(
    verdict: Verdict,
    events: EventBatch,
    *,
    cursor_id: int,
    series_ids: Mapping[SeriesKey, int],
    config_version: int,
) -> AnomalyRow:
    key = events.series_keys[int(events.series_index[verdict.row])]
    accepted = events.accepted[verdict.row]
    project_id, service, model = key
    return AnomalyRow(
        id=anomaly_id(project_id, accepted.event_id, accepted.timestamp_us, verdict.metric),
        project_id=project_id,
        series_id=series_ids[key],
        service=service,
        model=model,
        metric=verdict.metric,
        timestamp_us=accepted.timestamp_us,
        event_id=accepted.event_id,
        cursor_id=cursor_id,
        log_offset=int(events.offsets[verdict.row]),
        anomaly_type=TYPE_OF_METRIC[verdict.metric].value,
        severity=verdict.severity.value,
        # The reference detectors look at lone events; what pages is for the window layer to say.
        level=Level.RECORD.value,
        detection_method=verdict.method,
        detectors=verdict.detectors,
        direction=verdict.direction,
        observed=verdict.observed,
        baseline_mean=verdict.mean,
        baseline_stddev=verdict.stddev,
        baseline_median=verdict.median,
        deviation=verdict.deviation,
        threshold=verdict.threshold,
        lower=verdict.lower,
        upper=verdict.upper,
        z_score=verdict.z_score,
        p_value=verdict.p_value,
        confidence=verdict.confidence,
        window_size=verdict.window_size,
        samples=verdict.samples,
        details={"flat": verdict.flat, "q1": verdict.q1, "q3": verdict.q3, "mad": verdict.mad},
        config_version=config_version,
    )


def insert_anomalies(rows: Sequence[AnomalyRow]) -> None:
    """Insert the rows in order of their ids; one that is there already is left as it is."""
    if not rows:
        return
    columns = _columns(sorted(rows, key=lambda row: row.id))
    try:
        with transaction.atomic():
            copy_rows(_TABLE, columns)
    except IntegrityError as error:
        if getattr(error.__cause__, "pgcode", None) != UNIQUE_VIOLATION:
            raise
        # Its event was erased or dropped, and came again: the anomaly of the first time stays.
        _insert_missing(columns)


def count_anomalies(rows: Sequence[AnomalyRow]) -> None:
    """Add to the metrics what has been committed."""
    for row in rows:
        metrics.ANOMALIES_DETECTED.labels(row.severity, row.detection_method).inc()


def insert_shifts(shifts: Sequence[Shift], *, cursor_id: int, series_ids: Mapping[SeriesKey, int]) -> None:
    """Record that series settled at new levels. Every series of a shift has rows in the batch that reports it."""
    if not shifts:
        return
    rows = [
        (
            cursor_id,
            series_ids[shift.series],
            shift.metric,
            shift.log_offset,
            shift.samples,
            shift.mean_before,
            shift.stddev_before,
            shift.mean_after,
            shift.stddev_after,
        )
        for shift in shifts
    ]
    with connection.cursor() as sql, connection.wrap_database_errors:
        execute_values(sql.cursor, _INSERT_SHIFTS, rows)


def _insert_missing(columns: dict[str, Sequence[str]]) -> None:
    with connection.cursor() as sql:
        sql.execute(_STAGING)
        copy_rows("anomaly_staging", columns)
        sql.execute(_FROM_STAGING)
        sql.execute("TRUNCATE anomaly_staging")


_encode = msgspec.json.Encoder().encode
_JSON = ("detectors", "details")
_TEXTS = ("service", "model")
_NAMES = ("metric", "anomaly_type", "severity", "level", "detection_method", "direction")
_IDS = ("id", "event_id")
_NUMBERS = tuple(
    each.name for each in fields(AnomalyRow) if each.name not in {*_JSON, *_TEXTS, *_NAMES, *_IDS, "timestamp_us"}
)


def _columns(rows: Sequence[AnomalyRow]) -> dict[str, Sequence[str]]:
    """Return the COPY texts of every column; `detected_at` is the transaction's time."""
    columns: dict[str, Sequence[str]] = {
        "timestamp": copy_text.timestamps(np.array([row.timestamp_us for row in rows], dtype=np.int64))
    }
    for name in _IDS:
        columns[name] = [getattr(row, name).hex for row in rows]
    for name in _TEXTS:
        columns[name] = copy_text.texts([getattr(row, name) for row in rows])
    for name in _NAMES:
        columns[name] = [getattr(row, name) for row in rows]
    for name in _NUMBERS:
        columns[name] = copy_text.numbers([getattr(row, name) for row in rows])
    for name in _JSON:
        columns[name] = copy_text.json_documents([getattr(row, name) for row in rows], _encode)
    return columns
