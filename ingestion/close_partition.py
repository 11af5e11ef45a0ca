"""Giving up a partition that the log will never have again: a person's decision, recorded as a gap."""

from __future__ import annotations

from ingestion import gaps
from ingestion.log.base import Log
from ingestion.models import GapReason, PartitionCursor


class CloseRefused(Exception):
    """The partition cannot be closed; the message says why, for people."""


def lost_offsets(cursor: PartitionCursor) -> int:
    """Return how many offsets would never be ingested, as far as the end of the log was ever seen."""
    return max(cursor.log_end - cursor.next_offset, 0)


def check_closable(cursor: PartitionCursor, log: Log) -> None:
    """Raise `CloseRefused` where the partition is closed or still there, `LogUnavailable` where nobody can tell."""
    if cursor.closed_at is not None:
        raise CloseRefused(f"{cursor} is closed already")
    there = {(item.cluster_id, item.topic_id, item.partition) for item in log.partitions([cursor.topic])}
    if (cursor.cluster_id, cursor.topic_id, cursor.partition) in there:
        raise CloseRefused(f"the log still has {cursor}; closing it would lose what is appended to it")


def close_partition(cursor: PartitionCursor, log: Log) -> None:
    """Close the cursor for good; what lies between it and the end of the log as last seen becomes a gap."""
    check_closable(cursor, log)
    if not gaps.close(cursor, log_end=cursor.log_end, reason=GapReason.CLOSED):
        raise CloseRefused(f"{cursor} has changed meanwhile; look again")
