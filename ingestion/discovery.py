"""Which partitions there are: new ones get a cursor, replaced ones are closed, another cluster's are refused.

A topic that was deleted and created again has a new id. Its old cursors are closed with a gap and an alarm, the new
partitions are read from their beginning. Another Kafka cluster is a mistake until a person says otherwise: the cursors
halt, and nothing of it is read. Going from the PostgreSQL log to Kafka or back is no mistake.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import structlog

from ingestion import cursor as cursors
from ingestion import gaps
from ingestion.log.base import Log, PartitionId
from ingestion.log.postgres import CLUSTER_ID as POSTGRES
from ingestion.models import GapReason, HaltReason, PartitionCursor, Topic

logger = structlog.get_logger(__name__)


def discover(log: Log) -> tuple[set[int], set[str]]:
    """Return the ids of the cursors that can be served now, and the topics that they are of.

    Raises `LogUnavailable`.
    """
    projects = dict(Topic.objects.values_list("name", "project_id"))
    found = log.partitions(projects)
    open_cursors = list(PartitionCursor.objects.filter(closed_at=None))
    _part_with_replaced(found, open_cursors)
    foreign = _topics_of_other_clusters(found, open_cursors)
    known = {(cursor.cluster_id, cursor.topic_id, cursor.partition): cursor.pk for cursor in open_cursors}
    active = {
        known.get((item.cluster_id, item.topic_id, item.partition)) or _cursor_id(log, item, projects[item.topic])
        for item in found
        if item.topic not in foreign
    }
    return active, {item.topic for item in found if item.topic not in foreign}


def _part_with_replaced(found: Sequence[PartitionId], open_cursors: Sequence[PartitionCursor]) -> None:
    """Close the cursors of recreated topics; halt those of another cluster."""
    now: dict[str, tuple[str, str]] = {item.topic: (item.cluster_id, item.topic_id) for item in found}
    for cursor in open_cursors:
        if cursor.topic not in now:
            continue
        cluster_id, topic_id = now[cursor.topic]
        if _is_foreign(cursor.cluster_id, now=cluster_id):
            _halt(cursor, cluster_id)
        elif cluster_id == cursor.cluster_id and topic_id != cursor.topic_id:
            gaps.close(cursor, log_end=cursor.log_end, reason=GapReason.TOPIC_RECREATED)


def _is_foreign(known: str, *, now: str) -> bool:
    return known != now and POSTGRES not in {known, now}


def _halt(cursor: PartitionCursor, cluster_id: str) -> None:
    if cursor.halted_reason:
        return
    cursors.halt(
        cursors.current_attempt(cursor),
        because=HaltReason.OTHER_CLUSTER,
        reason=f"the brokers belong to cluster {cluster_id}, the cursor to cluster {cursor.cluster_id}",
    )


def _topics_of_other_clusters(found: Sequence[PartitionId], open_cursors: Sequence[PartitionCursor]) -> set[str]:
    """Return the topics that still have open cursors of another cluster."""
    clusters: dict[str, set[str]] = defaultdict(set)
    for cursor in open_cursors:
        clusters[cursor.topic].add(cursor.cluster_id)
    return {
        item.topic for item in found if any(_is_foreign(known, now=item.cluster_id) for known in clusters[item.topic])
    }


def _cursor_id(log: Log, item: PartitionId, project_id: int) -> int:
    known = PartitionCursor.objects.filter(
        cluster_id=item.cluster_id, topic_id=item.topic_id, partition=item.partition
    ).values_list("pk", flat=True)
    if known:
        return known[0]
    key = (item.topic, item.partition)
    # A first start reads from the beginning of the topic; afterwards the cursor rules.
    beginning = log.beginning_offsets([key]).get(key, 0)
    row, created = PartitionCursor.objects.get_or_create(
        cluster_id=item.cluster_id,
        topic_id=item.topic_id,
        partition=item.partition,
        defaults={"topic": item.topic, "project_id": project_id, "next_offset": beginning, "log_end": beginning},
    )
    if created:
        logger.info("bridge.new_partition", topic=item.topic, partition=item.partition, offset=beginning)
    return row.pk
