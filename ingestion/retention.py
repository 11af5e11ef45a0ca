"""Rows that go one by one: those of projects with a shorter retention than the longest, dead letters, late events.

Deletes are batched, each batch a statement of its own, so that no lock is held for long; what is removed is recorded
for the audit in the same statement. An event that the baselines would be rebuilt from stays until a checkpoint stands
after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import connection

from ingestion.models import Project
from ingestion.partitions import RECORD_EXPIRED

BATCH_ROWS = 5_000

_DELETE_EVENTS = """
    DELETE FROM events WHERE (tableoid, ctid) IN (
        SELECT event.tableoid, event.ctid FROM events event
        JOIN unnest(%s::bigint[], %s::bigint[]) AS needed (cursor_id, log_offset)
            ON needed.cursor_id = event.cursor_id AND event.log_offset < needed.log_offset
        WHERE project_id = %s AND timestamp < now() - make_interval(days => %s) LIMIT %s
    ) RETURNING cursor_id, 1 AS records
"""
_DELETE_OLD = """
    DELETE FROM {table} WHERE id IN (
        SELECT id FROM {table}
        WHERE project_id = %s AND created_at < now() - make_interval(days => %s) LIMIT %s
    ) RETURNING cursor_id, {records} AS records
"""
_RECORDED = "WITH gone AS ({delete}), recorded AS ({record} RETURNING rows) SELECT count(*) FROM gone"
_TABLES = {
    "events": _DELETE_EVENTS,
    "ingestion_deadletter": _DELETE_OLD.format(table="ingestion_deadletter", records="records"),
    "ingestion_lateevent": _DELETE_OLD.format(table="ingestion_lateevent", records="1"),
}


def delete_expired(*, needed_from: Mapping[int, int]) -> dict[str, int]:
    """Delete what is older than its project's retention; return how many rows of each table.

    `needed_from` says, by cursor, from which offset on events are needed for a rebuild (`detection.checkpoint`); of a
    cursor that is not in it all are.
    """
    deleted = dict.fromkeys(_TABLES, 0)
    needed = [list(needed_from), list(needed_from.values())]
    for project_id, days in Project.objects.values_list("pk", "retention_days"):
        for table, delete in _TABLES.items():
            parameters = [*(needed if table == "events" else ()), project_id, days, BATCH_ROWS, table]
            deleted[table] += _delete_all(delete, parameters)
    return deleted


def _delete_all(delete: str, parameters: list[Any]) -> int:
    statement = _RECORDED.format(
        delete=delete, record=RECORD_EXPIRED.format(source="SELECT cursor_id, records FROM gone").strip()
    )
    total = 0
    with connection.cursor() as sql:
        while True:
            sql.execute(statement, parameters)
            count = int(sql.fetchone()[0])
            total += count
            if count < BATCH_ROWS:
                return total
