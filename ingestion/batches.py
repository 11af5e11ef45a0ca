"""Write the audit row of a range."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection

from ingestion.log.base import Anchor
from ingestion.models import Batch

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class BatchStamp:
    """Which batch a state stands after; `created_at_us` is in microseconds since 1970.

    The id alone does not say it: after a crash that took back commits, or from an older backup, the sequence gives the
    same id to another batch.
    """

    batch_id: int
    attempt: int
    created_at_us: int

    @classmethod
    def of(cls, batch: Batch) -> BatchStamp:
        return cls(batch.pk, batch.attempt, (batch.created_at - _EPOCH) // _MICROSECOND)

    def __str__(self) -> str:
        return f"{self.batch_id}.{self.attempt}.{self.created_at_us}"


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
    ) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    RETURNING id, attempt, (extract(epoch FROM created_at) * 1000000)::bigint
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
) -> BatchStamp:
    """Insert the row inside the ingest transaction; return what stamps the state after it."""
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
        return BatchStamp(*sql.fetchone())
