"""Read a range of the log and make sure that it is still the log that the last batch came from."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection

from ingestion.batches import BatchStamp
from ingestion.log.base import Anchor, Chunk, Log, OffsetOutOfRange
from ingestion.models import PartitionCursor


class LogReplaced(Exception):
    """The record at the anchor is another one: the topic was recreated, refilled, or this is another cluster."""


class OtherCluster(LogReplaced):
    """The brokers belong to another cluster than the one that was ingested from."""


@dataclass(frozen=True, slots=True)
class LastBatch:
    """The committed batch that ends where the next range starts."""

    stamp: BatchStamp
    anchor: Anchor | None


_LAST_BATCH = """
    SELECT id, attempt, (extract(epoch FROM created_at) * 1000000)::bigint,
           anchor_offset, anchor_timestamp_ms, anchor_crc
    FROM ingestion_batch
    WHERE cursor_id = %s ORDER BY start_offset DESC LIMIT 1
"""


def last_batch(cursor: PartitionCursor) -> LastBatch | None:
    """Return the cursor's last batch; None before the first."""
    with connection.cursor() as sql:
        sql.execute(_LAST_BATCH, [cursor.pk])
        row = sql.fetchone()
    if row is None:
        return None
    *stamp, offset, timestamp_ms, crc = row
    return LastBatch(BatchStamp(*stamp), None if offset is None else Anchor(offset, timestamp_ms, crc))


def read_range(log: Log, cursor: PartitionCursor, end: int, *, last: LastBatch | None, max_bytes: int) -> Chunk:
    """Return the records in [next_offset, end), sure that they follow those of the batch `last`.

    The record at its anchor is read again and compared. Where there is none, or retention or compaction took it, or a
    person has looked and resumed from this batch, the names of cluster and topic are, asked for after the read: what was
    read came from the topic that has them, since a name never comes back.
    Raises `LogReplaced` on a mismatch, `OffsetOutOfRange` where the log no longer holds the start, and
    `LogUnavailable`.
    """
    anchor = last.anchor if last is not None and last.stamp.batch_id != cursor.trusted_batch_id else None
    if anchor is not None:
        try:
            chunk = log.read(cursor.topic, cursor.partition, anchor.offset, end, max_bytes=max_bytes)
        except OffsetOutOfRange:
            pass  # Retention has removed the anchor, or the log is another one and shorter.
        else:
            return _after_anchor(log, cursor, chunk, end, anchor=anchor, max_bytes=max_bytes)
    try:
        chunk = log.read(cursor.topic, cursor.partition, cursor.next_offset, end, max_bytes=max_bytes)
    except OffsetOutOfRange:
        _check_identity(log, cursor)
        raise
    _check_identity(log, cursor)
    return chunk


def _after_anchor(
    log: Log, cursor: PartitionCursor, chunk: Chunk, end: int, *, anchor: Anchor, max_bytes: int
) -> Chunk:
    first = chunk.records[0] if chunk.records else None
    is_there = first is not None and first.offset == anchor.offset
    if is_there and Anchor.of(chunk.records[0]) != anchor:
        raise LogReplaced(f"{cursor}: the record at offset {anchor.offset} is not the one that was ingested")
    if chunk.next_offset <= cursor.next_offset:
        chunk = log.read(cursor.topic, cursor.partition, cursor.next_offset, end, max_bytes=max_bytes)
    if not is_there:
        # Compaction has taken it; then only the names speak for the log.
        _check_identity(log, cursor)
    fresh = [record for record in chunk.records if record.offset >= cursor.next_offset]
    return Chunk(fresh, chunk.next_offset, chunk.end_offset)


def _check_identity(log: Log, cursor: PartitionCursor) -> None:
    """Compare what the brokers say of the topic now; raises `LogReplaced`."""
    found = next((item for item in log.partitions([cursor.topic]) if item.partition == cursor.partition), None)
    if found is None:
        raise LogReplaced(f"{cursor}: the topic has no such partition any more")
    if found.cluster_id != cursor.cluster_id:
        raise OtherCluster(f"{cursor} is of cluster {cursor.cluster_id}; the brokers are of {found.cluster_id}")
    if found.topic_id != cursor.topic_id:
        raise LogReplaced(f"{cursor}: the topic was recreated")
