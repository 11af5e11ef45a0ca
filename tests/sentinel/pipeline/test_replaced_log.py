"""A log that was recreated or refilled is noticed before anything of it is stored."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import replace

from django.db import connection

from ingestion import cursor as cursors
from ingestion.log.base import Chunk, PartitionId
from ingestion.log.postgres import PostgresLog
from ingestion.models import Batch, Event, HaltReason, InboxPartition, PartitionCursor
from sentinel.outcome import Outcome
from tests.sentinel.pipeline.conftest import Partition, Worker, event, new_worker


def ingest_next(partition: Partition, worker: Worker) -> Outcome:
    task = cursors.dispatch(partition.cursor, end=partition.end)
    assert task is not None
    return worker.pipeline.ingest(task)


def test_a_refilled_log_halts_the_partition(partition: Partition, worker: Worker) -> None:
    partition.append(event(1), event(2))
    worker.drain(partition, batch_records=10)
    with connection.cursor() as sql:
        sql.execute("UPDATE inbox SET value = 'other' WHERE log_offset = 1")
    partition.append(event(3))
    assert ingest_next(partition, worker) is Outcome.HALTED
    assert "offset 1" in partition.cursor.halted_reason
    assert partition.cursor.halted_because == HaltReason.LOG_REPLACED
    assert Event.objects.filter(project_id=partition.cursor.project_id).count() == 2


def test_a_halted_partition_is_not_dispatched(partition: Partition, worker: Worker) -> None:
    test_a_refilled_log_halts_the_partition(partition, worker)
    assert cursors.dispatch(partition.cursor, end=partition.end) is None


def test_a_recreated_topic_halts_the_partition(partition: Partition, worker: Worker) -> None:
    partition.append(event(1))
    InboxPartition.objects.filter(topic=partition.topic).update(topic_id=uuid.uuid4())
    assert ingest_next(partition, worker) is Outcome.HALTED
    assert "recreated" in partition.cursor.halted_reason


def test_an_anchor_that_retention_removed_is_replaced_by_the_topic_identity(
    partition: Partition, worker: Worker
) -> None:
    partition.append(event(1), event(2))
    worker.drain(partition, batch_records=10)
    partition.append(event(3))
    InboxPartition.objects.filter(topic=partition.topic, partition=0).update(begin_offset=2)
    assert ingest_next(partition, worker) is Outcome.COMMITTED


def test_another_cluster_halts_the_partition(partition: Partition, worker: Worker) -> None:
    partition.append(event(1))
    PartitionCursor.objects.update(cluster_id="another")
    assert ingest_next(partition, worker) is Outcome.HALTED
    assert partition.cursor.halted_because == HaltReason.OTHER_CLUSTER
    assert partition.cursor.halted_reason.endswith("is of cluster another; the brokers are of postgres")


def refilled(partition: Partition, worker: Worker) -> None:
    """Replace the record at the anchor, and let a person resume from there."""
    partition.append(event(1), event(2))
    worker.drain(partition, batch_records=10)
    with connection.cursor() as sql:
        sql.execute("UPDATE inbox SET value = 'other' WHERE log_offset = 1")
    partition.append(event(3))
    PartitionCursor.objects.update(trusted_batch_id=Batch.objects.latest("id").pk)


def test_after_a_person_has_looked_the_anchor_is_not_compared(partition: Partition, worker: Worker) -> None:
    refilled(partition, worker)
    assert ingest_next(partition, worker) is Outcome.COMMITTED
    assert Event.objects.filter(project_id=partition.cursor.project_id).count() == 3


def test_the_batch_after_it_is_compared_again(partition: Partition, worker: Worker) -> None:
    refilled(partition, worker)
    ingest_next(partition, worker)
    with connection.cursor() as sql:
        sql.execute("UPDATE inbox SET value = 'other' WHERE log_offset = 2")
    partition.append(event(4))
    assert ingest_next(partition, worker) is Outcome.HALTED


def test_the_names_are_compared_although_a_person_has_looked(partition: Partition, worker: Worker) -> None:
    refilled(partition, worker)
    InboxPartition.objects.filter(topic=partition.topic).update(topic_id=uuid.uuid4())
    assert ingest_next(partition, worker) is Outcome.HALTED


class RecreatedDuringRead(PostgresLog):
    """A log whose topic is recreated while it is being read."""

    def __init__(self) -> None:
        self._was_read = False

    def partitions(self, topics: Collection[str]) -> Sequence[PartitionId]:
        found = super().partitions(topics)
        return [replace(item, topic_id="recreated") for item in found] if self._was_read else found

    def read(self, topic: str, partition: int, start: int, end: int, *, max_bytes: int) -> Chunk:
        self._was_read = True
        return super().read(topic, partition, start, end, max_bytes=max_bytes)


def test_the_names_are_asked_for_after_the_read(partition: Partition, redis_url: str) -> None:
    partition.append(event(1))
    assert ingest_next(partition, new_worker(log=RecreatedDuringRead())) is Outcome.HALTED
    assert Event.objects.filter(project_id=partition.cursor.project_id).count() == 0


def test_a_recreated_and_shorter_topic_halts_the_partition(partition: Partition, worker: Worker) -> None:
    partition.append(event(1), event(2))
    worker.drain(partition, batch_records=10)
    task = cursors.dispatch(partition.cursor, end=3)
    assert task is not None
    InboxPartition.objects.filter(topic=partition.topic).update(topic_id=uuid.uuid4(), begin_offset=0, end_offset=0)
    assert worker.pipeline.ingest(task) is Outcome.HALTED
    assert "recreated" in partition.cursor.halted_reason


def test_a_start_that_the_log_no_longer_holds_never_moves_the_cursor(partition: Partition, worker: Worker) -> None:
    partition.append(*[event(n) for n in range(6)])
    worker.drain(partition, batch_records=2, until=2)
    InboxPartition.objects.filter(topic=partition.topic, partition=0).update(begin_offset=4)
    assert ingest_next(partition, worker) is Outcome.OFFSET_OUT_OF_RANGE
    assert partition.cursor.next_offset == 2
