"""The audit names what is missing, and nothing that is as it should be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ingestion.audit import audit
from ingestion.gaps import close, record_gap
from ingestion.models import Batch, DeadLetter, GapReason, InboxPartition, PartitionCursor, Project
from ingestion.retention import delete_expired
from tests.sentinel.pipeline.conftest import Partition, Worker, event, new_worker


def problems(partition: Partition) -> list[str]:
    (found,) = audit(partition.log)
    return list(found.problems)


def test_a_chain_that_starts_after_the_logs_beginning_is_a_problem(partition: Partition, worker: Worker) -> None:
    partition.append(*[event(n) for n in range(6)])
    worker.drain(partition, batch_records=2)
    Batch.objects.filter(start_offset=0).delete()
    assert "offsets 0 to 2 of the log come before the first batch" in problems(partition)


def test_a_cursor_that_was_moved_before_its_first_batch_is_a_problem(partition: Partition) -> None:
    partition.append(*[event(n) for n in range(6)])
    PartitionCursor.objects.update(next_offset=4)
    assert problems(partition) == ["offsets 0 to 4 of the log come before the first batch"]


def test_a_log_that_has_lost_its_beginning_since_is_no_problem(partition: Partition, worker: Worker) -> None:
    partition.append(*[event(n) for n in range(6)])
    worker.drain(partition, batch_records=2)
    InboxPartition.objects.filter(topic=partition.topic, partition=0).update(begin_offset=5)
    assert problems(partition) == []


def test_a_cursor_that_was_made_when_the_log_had_lost_its_beginning_is_no_problem(
    partition: Partition, worker: Worker
) -> None:
    partition.append(*[event(n) for n in range(6)])
    InboxPartition.objects.filter(topic=partition.topic, partition=0).update(begin_offset=3)
    PartitionCursor.objects.update(next_offset=3)
    worker.drain(partition, batch_records=10)
    assert problems(partition) == []


def test_a_gap_closes_the_chain_and_is_counted(partition: Partition, worker: Worker) -> None:
    partition.append(*[event(n) for n in range(8)])
    worker.drain(partition, batch_records=2, until=2)
    InboxPartition.objects.filter(topic=partition.topic, partition=0).update(begin_offset=5)
    assert record_gap(partition.cursor, until=5, reason=GapReason.RETENTION)
    new_worker().drain(partition, batch_records=10)
    (found,) = audit(partition.log)
    assert (list(found.problems), found.gaps, found.stored) == ([], 3, 5)


def test_a_closed_partition_is_no_problem(partition: Partition, worker: Worker) -> None:
    partition.append(*[event(n) for n in range(4)])
    worker.drain(partition, batch_records=2, until=2)
    InboxPartition.objects.filter(topic=partition.topic).delete()
    assert problems(partition) == ["the log no longer has this partition"]
    assert close(partition.cursor, log_end=4, reason=GapReason.TOPIC_RECREATED)
    (found,) = audit(partition.log)
    assert (list(found.problems), found.gaps) == ([], 2)


def test_counted_dead_letters_that_expired_still_add_up(partition: Partition, worker: Worker) -> None:
    Project.objects.update(dead_letters_per_hour=1)
    partition.append(*[b"{"] * 5)
    worker.drain(partition, batch_records=5)
    DeadLetter.objects.update(created_at=datetime.now(UTC) - timedelta(days=40))
    assert delete_expired(needed_from={})["ingestion_deadletter"] == 2
    assert problems(partition) == []


def test_a_lost_dead_letter_is_a_problem(partition: Partition, worker: Worker) -> None:
    Project.objects.update(dead_letters_per_hour=1)
    partition.append(*[b"{"] * 5)
    worker.drain(partition, batch_records=5)
    DeadLetter.objects.filter(records=4).delete()
    assert problems(partition) == ["4 of 5 rows rejected are missing"]
