"""The alarm on partitions that lag without progress, owned or not, halted or not."""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.db.models.functions import Now

from ingestion.log.base import LogUnavailable
from ingestion.log.configured import open_log
from ingestion.models import PartitionCursor

logger = structlog.get_logger(__name__)

STALLED_SECONDS = 60


def report_stalled() -> list[PartitionCursor]:
    """Log every partition with lag and no progress for a minute as an error; return them."""
    quiet = list(PartitionCursor.objects.filter(progressed_at__lt=Now() - timedelta(seconds=STALLED_SECONDS)))
    if not quiet:
        return []
    log = open_log()
    try:
        existing = {
            (item.cluster_id, item.topic_id, item.partition) for item in log.partitions({c.topic for c in quiet})
        }
        present = [c for c in quiet if (c.cluster_id, c.topic_id, c.partition) in existing]
        ends = log.end_offsets([(c.topic, c.partition) for c in present])
    except LogUnavailable as error:
        logger.error("partition.log_unavailable", error=str(error))
        return []
    finally:
        log.close()
    stalled = [c for c in present if ends.get((c.topic, c.partition), 0) > c.next_offset]
    for cursor in stalled:
        logger.error(
            "partition.stalled",
            partition=str(cursor),
            lag=ends[(cursor.topic, cursor.partition)] - cursor.next_offset,
            since=cursor.progressed_at.isoformat(),
            halted=cursor.halted_reason or None,
            last_error=cursor.last_error or None,
        )
    return stalled
