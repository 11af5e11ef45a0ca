"""Offsets that were never ingested: moving a cursor past them, with a row that says which, and an alarm.

Only the bridge comes here, after it has compared the cursor with both ends of the log; a worker never moves a cursor
because a read failed.
"""

from __future__ import annotations

import structlog
from django.db import connection

from ingestion.begun_anew import BEGUN_ANEW
from ingestion.condition import Runbook
from ingestion.failpoint import failpoint
from ingestion.models import GapReason, PartitionCursor

logger = structlog.get_logger(__name__)

# The gap and the cursor's move are one statement; whoever has moved the cursor meanwhile wins.
_RECORD = f"""
    WITH moved AS (
        UPDATE ingestion_partitioncursor
        SET next_offset = %(until)s, {BEGUN_ANEW}, condemned_offset = NULL,
            closed_at = CASE WHEN %(close)s THEN now() ELSE closed_at END
        WHERE id = (
            SELECT id FROM ingestion_partitioncursor
            WHERE id = %(id)s AND next_offset = %(start)s AND attempt = %(attempt)s AND closed_at IS NULL
            FOR UPDATE SKIP LOCKED
        )
        RETURNING id
    ), gap AS (
        INSERT INTO ingestion_gap (cursor_id, start_offset, end_offset, reason)
        SELECT id, %(start)s, %(until)s, %(reason)s FROM moved WHERE %(until)s > %(start)s
    )
    SELECT id FROM moved
"""


def record_gap(cursor: PartitionCursor, *, until: int, reason: GapReason) -> bool:
    """Move the cursor to `until` and record what lies between; False when somebody else moved it first."""
    done = _record(cursor, until=until, reason=reason, close=False)
    if done:
        logger.error(
            "partition.gap", partition=str(cursor), start=cursor.next_offset, end=until, lost=until - cursor.next_offset,
            reason=reason, why=str(reason.label), runbook=Runbook.GAP.path,
        )  # fmt: skip
    return done


def close(cursor: PartitionCursor, *, log_end: int, reason: GapReason) -> bool:
    """End the cursor of a partition that the log no longer has, for good.

    What lay between it and `log_end`, the end as it was last seen, is lost. False when somebody else moved it.
    """
    until = max(log_end, cursor.next_offset)
    done = _record(cursor, until=until, reason=reason, close=True)
    if done:
        logger.error(
            "partition.closed", partition=str(cursor), topic_id=cursor.topic_id, start=cursor.next_offset, end=until,
            lost=until - cursor.next_offset, reason=reason, why=str(reason.label), runbook=Runbook.PARTITION_CLOSED.path,
        )  # fmt: skip
    return done


def _record(cursor: PartitionCursor, *, until: int, reason: GapReason, close: bool) -> bool:
    failpoint("before_gap")
    with connection.cursor() as sql:
        sql.execute(
            _RECORD,
            {
                "id": cursor.pk,
                "start": cursor.next_offset,
                "attempt": cursor.attempt,
                "until": until,
                "reason": reason.value,
                "close": close,
            },
        )
        done = sql.fetchone() is not None
    failpoint("after_gap")
    return done
