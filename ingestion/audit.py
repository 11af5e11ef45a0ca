"""Prove promise 1: what the log acknowledged equals what became of it, partition by partition.

`offsets = stored + duplicates + rejected + late + gaps + control`, batches and gaps form a chain without hole or
overlap from the first offset of the log up to the cursor, and the rows that the batches claim are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import Sum

from ingestion.log.base import Log
from ingestion.models import Batch, DeadLetter, ExpiredRows, Gap, LateEvent, PartitionCursor


@dataclass(frozen=True, slots=True)
class PartitionAudit:
    """The figures of one partition; `problems` is empty where the promise holds."""

    topic: str
    partition: int
    log_begin: int | None
    log_end: int | None
    next_offset: int
    lag: int | None
    stored: int
    duplicates: int
    rejected: int
    late: int
    control: int
    gaps: int
    problems: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


# The key of a partition that the log no longer has.
NOWHERE = ("", -1)
_TABLES = {"stored": "events", "rejected": "ingestion_deadletter", "late": "ingestion_lateevent"}
_STORED = "SELECT count(*) FROM events WHERE cursor_id = %s"


def audit(log: Log) -> list[PartitionAudit]:
    """Audit every partition that has a cursor. Counts rows of `events`: minutes on a large table.

    One snapshot of the database, taken before the log is asked for its ends: ingestion may go on meanwhile.
    """
    with transaction.atomic():
        with connection.cursor() as sql:
            sql.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return _audit(log)


def _audit(log: Log) -> list[PartitionAudit]:
    cursors = list(PartitionCursor.objects.order_by("topic", "partition", "pk"))
    current = {(item.cluster_id, item.topic_id, item.partition) for item in log.partitions({c.topic for c in cursors})}
    live = {c.pk: (c.topic, c.partition) for c in cursors if (c.cluster_id, c.topic_id, c.partition) in current}
    begins = log.beginning_offsets(live.values()) if live else {}
    ends = log.end_offsets(live.values()) if live else {}
    return [_audit_cursor(c, begins.get(live.get(c.pk, NOWHERE)), ends.get(live.get(c.pk, NOWHERE))) for c in cursors]


def _audit_cursor(cursor: PartitionCursor, begin: int | None, end: int | None) -> PartitionAudit:
    totals = Batch.objects.filter(cursor=cursor).aggregate(
        stored=Sum("stored"),
        duplicates=Sum("duplicates"),
        rejected=Sum("rejected"),
        late=Sum("late"),
        control=Sum("control"),
    )
    figures = {name: int(value or 0) for name, value in totals.items()}
    gaps = sum(gap.end_offset - gap.start_offset for gap in Gap.objects.filter(cursor=cursor))
    problems = [
        *_chain_problems(cursor, begin),
        *_row_problems(cursor, figures),
        *_log_problems(cursor, begin, end),
    ]
    return PartitionAudit(
        topic=cursor.topic,
        partition=cursor.partition,
        log_begin=begin,
        log_end=end,
        next_offset=cursor.next_offset,
        lag=None if end is None else end - cursor.next_offset,
        gaps=gaps,
        problems=problems,
        **figures,
    )


def _chain_problems(cursor: PartitionCursor, begin: int | None) -> Iterator[str]:
    ranges = sorted(
        [
            *Batch.objects.filter(cursor=cursor).values_list("start_offset", "end_offset"),
            *Gap.objects.filter(cursor=cursor).values_list("start_offset", "end_offset"),
        ]
    )
    expected = ranges[0][0] if ranges else cursor.next_offset
    # A cursor starts where its log began then, and a log's beginning never moves back.
    if begin is not None and begin < expected:
        yield f"offsets {begin} to {expected} of the log come before the first batch"
    for start, end in ranges:
        if start != expected:
            yield f"batches {'overlap' if start < expected else 'leave a hole'} between offsets {expected} and {start}"
        expected = end
    if expected != cursor.next_offset:
        yield f"the last batch ends at {expected}, the cursor stands at {cursor.next_offset}"
    for batch in Batch.objects.filter(cursor=cursor).iterator():
        parts = batch.stored + batch.duplicates + batch.rejected + batch.late + batch.control
        if parts != batch.end_offset - batch.start_offset:
            yield f"batch [{batch.start_offset}, {batch.end_offset}) accounts for {parts} offsets"


def _row_problems(cursor: PartitionCursor, figures: dict[str, int]) -> Iterator[str]:
    with connection.cursor() as sql:
        sql.execute(_STORED, [cursor.pk])
        found = {"stored": sql.fetchone()[0]}
    found["rejected"] = DeadLetter.objects.filter(cursor=cursor).aggregate(sum=Sum("records"))["sum"] or 0
    found["late"] = LateEvent.objects.filter(cursor=cursor).count()
    expired = dict(
        ExpiredRows.objects.filter(cursor=cursor).values_list("table").annotate(rows=Sum("rows")).order_by("table")
    )
    for name, table in _TABLES.items():
        count = found[name] + expired.get(table, 0)
        if count > figures[name]:
            yield f"{count} rows {name}, but the batches claim {figures[name]}"
        elif count < figures[name]:
            yield f"{figures[name] - count} of {figures[name]} rows {name} are missing"


def _log_problems(cursor: PartitionCursor, begin: int | None, end: int | None) -> Iterator[str]:
    if cursor.closed_at is not None:
        return  # What was left of it is a gap.
    if end is None:
        yield "the log no longer has this partition"
    elif cursor.next_offset > end:
        yield f"the cursor stands at {cursor.next_offset}, beyond the log's end {end}"
    elif begin is not None and cursor.next_offset < begin:
        yield f"offsets {cursor.next_offset} to {begin} left the log before they were ingested"
