"""Write the audit row of a range."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection

from ingestion.log.base import Anchor


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the offsets of a range; they add up to its width."""

    stored: int
    duplicates: int
    rejected: int
    late: int
    control: int
    anomalies: int
    unknown_fields: int


_INSERT = """
    INSERT INTO ingestion_batch (
        cursor_id, attempt, start_offset, end_offset, stored, duplicates, rejected, late, control, anomalies,
        unknown_fields, anchor_offset, anchor_timestamp_ms, anchor_crc, config_version, worker_build
    ) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
"""


def write_batch(
    *,
    cursor_id: int,
    attempt: int,
    start: int,
    end: int,
    counts: Counts,
    anchor: Anchor | None,
    config_version: int,
    worker_build: str,
) -> int:
    """Insert the row inside the ingest transaction; return its id, which stamps the state."""
    with connection.cursor() as sql:
        sql.execute(
            _INSERT,
            [
                cursor_id,
                attempt,
                start,
                end,
                counts.stored,
                counts.duplicates,
                counts.rejected,
                counts.late,
                counts.control,
                counts.anomalies,
                counts.unknown_fields,
                anchor.offset if anchor else None,
                anchor.timestamp_ms if anchor else None,
                anchor.crc if anchor else None,
                config_version,
                worker_build,
            ],
        )
        return int(sql.fetchone()[0])
