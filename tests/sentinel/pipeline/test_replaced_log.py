"""A log that was recreated or refilled is noticed before anything of it is stored."""

from __future__ import annotations

import uuid

from django.db import connection

from ingestion import cursor as cursors
from ingestion.models import Event, InboxPartition
from sentinel.outcome import Outcome
from tests.sentinel.pipeline.conftest import Partition, Worker, event


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
