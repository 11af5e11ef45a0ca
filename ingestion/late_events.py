"""Keep valid events whose time cannot be stored: shown to people, never counted."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection
from psycopg2.extras import execute_values

from ingestion.event import encode_event
from ingestion.event_batch import EventBatch

NO_PARTITION = "no_partition"

_INSERT = """
    INSERT INTO ingestion_lateevent
        (project_id, cursor_id, log_offset, log_time, event_id, timestamp_us, reason, payload)
    VALUES %s ON CONFLICT DO NOTHING RETURNING log_offset
"""


def store_late_events(batch: EventBatch, reasons: Sequence[str], *, cursor_id: int) -> int:
    """Insert inside the caller's transaction; return how many are new, the others being known duplicates."""
    if not len(batch):
        return 0
    rows = [
        (
            batch.project_id,
            cursor_id,
            batch.offsets[position],
            batch.log_times_ms[position] / 1000,
            item.event_id.hex,
            item.timestamp_us,
            reasons[position],
            encode_event(item.event).decode(),
        )
        for position, item in enumerate(batch.accepted)
    ]
    # In the order of their identity, like events: two partitions with the same keys then never deadlock.
    rows.sort(key=lambda row: (row[0], row[5], row[4], row[2]))
    with connection.cursor() as sql:
        inserted = execute_values(
            sql.cursor, _INSERT, rows, template="(%s, %s, %s, to_timestamp(%s), %s, %s, %s, %s)", fetch=True
        )
    return len(inserted)
