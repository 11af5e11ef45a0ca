"""What travels between the stages of one range, and what is counted of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.conf import settings

from alerting.metrics import count_suppressed
from alerting.outbox import Enqueued
from detection import metrics as detection_metrics
from detection.detect import AnomalyRow, count_anomalies
from detection.fold import PartitionState
from detection.profile import METRICS
from ingestion import metrics
from ingestion.bad_deploy import Share
from ingestion.batches import BatchStamp, Counts
from ingestion.cursor import Dispatch
from ingestion.dead_letters import RejectedRecord
from ingestion.event_batch import EventBatch
from ingestion.log.base import Anchor, Chunk
from ingestion.models import PartitionCursor
from ingestion.read import LastBatch
from ingestion.reject import RejectReason, SetAsideReason

# The label of a dead letter whose record killed its worker nobody knows where.
UNKNOWN_STAGE = "unknown"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A range outside the database: scrubbed events, dead letters with all reasons, and what identifies it."""

    chunk: Chunk
    events: EventBatch
    rejected: Sequence[RejectedRecord]
    reasons: Mapping[RejectReason | SetAsideReason, int]
    last: LastBatch | None

    @property
    def anchor(self) -> Anchor | None:
        """The last record of the range; where it holds none, the one before it still identifies the log."""
        if self.chunk.records:
            return Anchor.of(self.chunk.records[-1])
        return self.last.anchor if self.last else None

    @property
    def rejects(self) -> Share:
        """How many of the records were rejected."""
        return Share(len(self.chunk.records), sum(self.reasons.values()))


@dataclass(frozen=True, slots=True)
class Committed:
    """What the transaction did, for Redis, the metrics and the next range."""

    stamp: BatchStamp
    previous_stamp: BatchStamp | None
    state: PartitionState
    counts: Counts
    next_task: Dispatch | None
    learning_series: int
    anomalies: Sequence[AnomalyRow]
    alerts: Enqueued
    next_offset: int
    # The answer to COMMIT was lost, and with it the session that held the cursor's lock.
    lost_lock: bool = False


def counts_of(task: Dispatch, prepared: Prepared, *, stored: int, late: int, anomalies: int) -> Counts:
    """Return what became of the offsets of the range."""
    rejected = prepared.rejects.rejected
    return Counts(
        stored=stored,
        duplicates=len(prepared.events) - stored - late,
        rejected=rejected,
        late=late,
        control=prepared.chunk.next_offset - task.start - len(prepared.events) - rejected,
        anomalies=anomalies,
        unknown_fields=sum(item.unknown_fields for item in prepared.events.accepted),
    )


def count_committed(cursor: PartitionCursor, prepared: Prepared, committed: Committed) -> None:
    """Add to the metrics what has been committed."""
    counts, records = committed.counts, prepared.chunk.records
    metrics.EVENTS_RECEIVED.inc(len(records))
    if settings.SENTINEL_BROKERS:
        metrics.KAFKA_MESSAGES_CONSUMED.inc(len(records))
    metrics.EVENTS_DUPLICATE.inc(counts.duplicates)
    metrics.STORAGE_WRITES.labels("events").inc(counts.stored)
    for service, events in Counter(item.event.service_name for item in prepared.events.accepted).items():
        metrics.EVENTS_PROCESSED.labels(metrics.service_label(service)).inc(events)
    for reason, rejects in prepared.reasons.items():
        by_reason = metrics.RECORDS_SET_ASIDE if isinstance(reason, SetAsideReason) else metrics.VALIDATION_FAILURES
        by_reason.labels(reason.value).inc(rejects)
    for item in prepared.rejected:
        metrics.DEAD_LETTERS.labels(item.stage or UNKNOWN_STAGE).inc(item.records)
        if item.rejected.reason is SetAsideReason.OVER_QUOTA:
            metrics.DEAD_LETTERS_OVER_QUOTA.inc(item.records)
    for found in filter(None, prepared.events.pii):
        for kind, values in found.items():
            metrics.SCRUBBED.labels(kind).inc(values)
    if records:
        metrics.INGEST_DELAY_SECONDS.observe(max(0.0, time.time() - records[-1].timestamp_ms / 1000))
    place = (cursor.topic, str(cursor.partition))
    detection_metrics.BASELINE_UPDATES.inc(committed.learning_series * len(METRICS))
    detection_metrics.BASELINE_SAMPLES.labels(*place).set(committed.state.samples)
    metrics.CACHE_SIZE.labels(*place).set(len(committed.state))
    count_anomalies(committed.anomalies)
    count_suppressed(committed.alerts.suppressed)
