"""Read a range of the log and make sure that it is still the log that the last batch came from."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection

from ingestion.log.base import Anchor, Chunk, Log, OffsetOutOfRange
from ingestion.models import PartitionCursor


class LogReplaced(Exception):
    """The record at the anchor is another one: the topic was recreated, refilled, or this is another cluster."""


@dataclass(frozen=True, slots=True)
class LastBatch:
    """The committed batch that ends where the next range starts."""

    batch_id: int
    anchor: Anchor | None


_LAST_BATCH = """
    SELECT id, anchor_offset, anchor_timestamp_ms, anchor_crc FROM ingestion_batch
    WHERE cursor_id = %s ORDER BY start_offset DESC LIMIT 1
"""


def last_batch(cursor: PartitionCursor) -> LastBatch | None:
    """Return the cursor's last batch; None before the first."""
    with connection.cursor() as sql:
        sql.execute(_LAST_BATCH, [cursor.pk])
        row = sql.fetchone()
    if row is None:
        return None
    batch_id, offset, timestamp_ms, crc = row
    return LastBatch(batch_id, None if offset is None else Anchor(offset, timestamp_ms, crc))


def read_range(log: Log, cursor: PartitionCursor, end: int, *, anchor: Anchor | None, max_bytes: int) -> Chunk:
    """Return the records in [next_offset, end), having compared the record at the anchor.

    Raises `LogReplaced` on a mismatch, `OffsetOutOfRange` where the log no longer holds the start, and
    `LogUnavailable`.
    """
    start = cursor.next_offset
    if anchor is None:
        _check_identity(log, cursor)
        return log.read(cursor.topic, cursor.partition, start, end, max_bytes=max_bytes)
    try:
        chunk = log.read(cursor.topic, cursor.partition, anchor.offset, end, max_bytes=max_bytes)
    except OffsetOutOfRange:
        # Retention has removed the anchor, or the log is another one and shorter.
        _check_identity(log, cursor)
        return log.read(cursor.topic, cursor.partition, start, end, max_bytes=max_bytes)
    return _after_anchor(log, cursor, chunk, end, anchor=anchor, max_bytes=max_bytes)


def _after_anchor(
    log: Log, cursor: PartitionCursor, chunk: Chunk, end: int, *, anchor: Anchor, max_bytes: int
) -> Chunk:
    first = chunk.records[0] if chunk.records else None
    if first is None or first.offset != anchor.offset:
        # Compaction may have taken it; then only the names of log and topic speak for themselves.
        _check_identity(log, cursor)
        records = [record for record in chunk.records if record.offset >= cursor.next_offset]
    elif Anchor.of(first) != anchor:
        raise LogReplaced(f"{cursor}: the record at offset {anchor.offset} is not the one that was ingested")
    else:
        records = list(chunk.records[1:])
    if chunk.next_offset <= cursor.next_offset:
        return log.read(cursor.topic, cursor.partition, cursor.next_offset, end, max_bytes=max_bytes)
    return Chunk(records, chunk.next_offset, chunk.end_offset)


def _check_identity(log: Log, cursor: PartitionCursor) -> None:
    for item in log.partitions([cursor.topic]):
        if item.partition == cursor.partition:
            if (item.cluster_id, item.topic_id) == (cursor.cluster_id, cursor.topic_id):
                return
            break
    raise LogReplaced(f"{cursor}: the topic was recreated or belongs to another cluster")
