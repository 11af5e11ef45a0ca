"""Set aside what cannot become an event; `ingestion.replay` sends it again once the reason is gone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection
from psycopg2.extras import execute_values

from ingestion.log.base import Record
from ingestion.models.dead_letter import DeadLetterStatus
from ingestion.scrub.payload import NO_PAYLOAD, ScrubbedPayload
from ingestion.validate import Rejected

# What the column holds.
MAX_SIZE_BYTES = 2**31 - 1


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """A record with the reason and its payload.

    With `records` > 1 it stands for so many of its range, from this one on, that are counted only; `size_bytes` is then
    the size of all of them, and there is no digest.
    """

    record: Record
    rejected: Rejected
    stage: str
    payload: ScrubbedPayload
    size_bytes: int
    sha256: bytes
    records: int = 1

    @classmethod
    def of(cls, record: Record, rejected: Rejected, *, stage: str, payload: ScrubbedPayload) -> RejectedRecord:
        """Return one record as it is kept."""
        value = record.value or b""
        return cls(record, rejected, stage, payload, len(value), hashlib.sha256(value).digest())

    @classmethod
    def counted(cls, records: Sequence[Record], rejected: Rejected, *, stage: str) -> RejectedRecord:
        """Return the one row that stands for all of these."""
        size_bytes = min(sum(len(record.value or b"") for record in records), MAX_SIZE_BYTES)
        return cls(records[0], rejected, stage, NO_PAYLOAD, size_bytes, b"", len(records))


_INSERT = """
    INSERT INTO ingestion_deadletter
        (project_id, cursor_id, log_offset, records, log_time, stage, reason, field, message, size_bytes, sha256, payload, payload_cut, status)
    VALUES %s ON CONFLICT (cursor_id, log_offset) DO NOTHING
"""


def store_dead_letters(rejected: Sequence[RejectedRecord], *, project_id: int, cursor_id: int) -> None:
    """Insert the rejected records of one range inside the caller's transaction."""
    if not rejected:
        return
    rows = [_row(item, project_id=project_id, cursor_id=cursor_id) for item in rejected]
    with connection.cursor() as sql:
        execute_values(
            sql.cursor,
            _INSERT,
            rows,
            template=f"(%s, %s, %s, %s, to_timestamp(%s), {', '.join(['%s'] * 9)})",
            page_size=500,
        )


def _row(item: RejectedRecord, *, project_id: int, cursor_id: int) -> tuple[object, ...]:
    return (
        project_id,
        cursor_id,
        item.record.offset,
        item.records,
        item.record.timestamp_ms / 1000,
        item.stage,
        item.rejected.reason.value,
        item.rejected.field[:200],
        item.rejected.message[:500],
        item.size_bytes,
        item.sha256,
        item.payload.text,
        item.payload.is_cut,
        DeadLetterStatus.OPEN.value,
    )
