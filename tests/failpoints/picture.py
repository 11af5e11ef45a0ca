"""Everything that a log must leave in the database and in Redis, in a form in which two partitions can be compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import redis
from django.conf import settings
from django.db import connection

from detection.fold import PartitionState
from detection.rebuild import rebuild
from ingestion.batches import BatchStamp
from ingestion.cursor_lock import held_locks
from ingestion.models import Batch, Gap, InboxPartition, PartitionCursor

Rows = Sequence[tuple[Any, ...]]

# What differs between two partitions that hold the same log: keys of rows, and when it happened.
OWN_COLUMNS = {
    "id",
    "project_id",
    "cursor_id",
    "series_id",
    "ingested_at",
    "created_at",
    "detected_at",
    "config_version",
}
# table: (the column that says whose row it is, the order)
TABLES = {
    "events": ("cursor_id", "log_offset"),
    "detection_anomaly": ("cursor_id", "log_offset, metric, anomaly_type"),
    "ingestion_deadletter": ("cursor_id", "log_offset"),
    "ingestion_lateevent": ("cursor_id", "log_offset"),
}
ROLLUPS = """
    SELECT series.service, series.model, {columns} FROM metric_rollup
    JOIN ingestion_series series ON series.id = series_id WHERE cursor_id = %s ORDER BY 1, 2, window_start
"""
SHIFTS = """
    SELECT series.service, series.model, {columns} FROM detection_baselineshift
    JOIN ingestion_series series ON series.id = series_id WHERE cursor_id = %s ORDER BY 1, 2, metric, log_offset
"""
# With the anomaly that each entry is for: an entry without one would be missing.
OUTBOX = """
    SELECT anomaly.log_offset, anomaly.metric, rule.name, entry.service, entry.model, entry.anomaly_type,
           entry.severity, entry.anomaly_timestamp, entry.window_start, entry.status, entry.suppression_reason,
           (entry.anomaly - 'id')::text, entry.claims, entry.attempts
    FROM alerting_outboxentry entry
    JOIN detection_anomaly anomaly ON anomaly.id = entry.anomaly_id
    JOIN alerting_alertrule rule ON rule.id = entry.rule_id
    WHERE anomaly.cursor_id = %s ORDER BY 1, 2, 3, 6
"""


def picture(cursor_id: int) -> dict[str, Any]:
    """Return what may depend on the log alone: never on cuts, attempts, deaths, or where the state came from."""
    found: dict[str, Any] = {
        table: _rows(f"SELECT {_columns(table)} FROM {table} WHERE {owner} = %s ORDER BY {order}", cursor_id)
        for table, (owner, order) in TABLES.items()
    }
    found["rollups"] = _rows(ROLLUPS.format(columns=_columns("metric_rollup")), cursor_id)
    found["shifts"] = _rows(SHIFTS.format(columns=_columns("detection_baselineshift")), cursor_id)
    found["outbox"] = _rows(OUTBOX, cursor_id)
    found["outbox size"] = _rows(
        "SELECT count(*) FROM alerting_outboxentry entry JOIN ingestion_partitioncursor own USING (project_id) "
        "WHERE own.id = %s",
        cursor_id,
    )
    found["counts"] = _counts(cursor_id)
    found["rebuilt state"] = encoded(rebuild(cursor_id))
    return found


def encoded(state: PartitionState) -> dict[tuple[str, str], bytes]:
    """Return the bytes of each series, by service and model."""
    return {key[1:]: data for key, data in state.encode_all().items()}


def cached_state(cursor_id: int) -> PartitionState | None:
    """Return the state in Redis if its stamp is that of the cursor's last batch."""
    last = Batch.objects.filter(cursor_id=cursor_id).order_by("-start_offset").first()
    entry = cache_entry(cursor_id)
    assert last is not None
    if entry.pop("stamp", b"") != str(BatchStamp.of(last)).encode():
        return None
    offset, _ = int(entry.pop("next_offset")), entry.pop("checkpoint")
    return PartitionState.decode(dict(_keyed(entry)), next_offset=offset)


def cache_entry(cursor_id: int) -> dict[str, bytes]:
    """Return what Redis holds for the cursor, byte by byte."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        keys = list(client.scan_iter(f"sentinel:{settings.SENTINEL_INSTALLATION}:baselines:*:{cursor_id}", count=1000))
        assert len(keys) <= 1
        entry: Any = client.hgetall(keys[0]) if keys else {}
    return {name.decode(): value for name, value in entry.items()}


def _keyed(entry: Mapping[str, bytes]) -> Iterator[tuple[tuple[int, str, str], bytes]]:
    for name, data in entry.items():
        project_id, service, model = json.loads(name)
        yield (project_id, service, model), data


def check_settled(cursor_id: int) -> None:
    """Assert that every offset is in exactly one batch or gap, and that nothing is left over of any attempt."""
    cursor = PartitionCursor.objects.get(pk=cursor_id)
    end = InboxPartition.objects.get(topic=cursor.topic).end_offset
    ranges = sorted(
        found
        for model in (Batch, Gap)
        for found in model.objects.filter(cursor=cursor).values_list("start_offset", "end_offset")
    )
    assert all(before[1] == after[0] for before, after in pairwise([(0, 0), *ranges, (end, end)])), ranges
    assert (cursor.next_offset, cursor.ended_attempt, cursor.started_at) == (end, cursor.attempt, None)
    assert (cursor.suspect_end, cursor.strikes) == (None, 0)
    assert (cursor.lone_strikes, cursor.lone_doubts, cursor.lone_deaths) == (0, 0, 0)
    assert (cursor.condemned_offset, cursor.halted_reason, cursor.closed_at) == (None, "", None)
    assert cursor_id not in held_locks()
    cached = cached_state(cursor_id)
    assert cached is not None, "the stamp in Redis is not that of the last batch"
    assert encoded(cached) == encoded(rebuild(cursor_id))


def _counts(cursor_id: int) -> Mapping[str, int]:
    names = ("stored", "duplicates", "rejected", "late", "control", "anomalies", "unknown_fields")
    batches = Batch.objects.filter(cursor_id=cursor_id).values(*names)
    return {name: sum(batch[name] for batch in batches) for name in names}


def _rows(query: str, cursor_id: int) -> Rows:
    with connection.cursor() as sql:
        sql.execute(query, [cursor_id])
        return [tuple(bytes(item) if isinstance(item, memoryview) else item for item in row) for row in sql.fetchall()]


@cache
def _columns(table: str) -> str:
    """Return all columns but `OWN_COLUMNS`: a new one is compared without anybody adding it here."""
    with connection.cursor() as sql:
        sql.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            [table],
        )
        names = [name for (name,) in sql.fetchall() if name not in OWN_COLUMNS]
    assert names
    return ", ".join(f"{table}.{name}" for name in names)
