"""From the replay of a dead letter through the log and the pipeline to its event, which is stored once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from django.db import connections
from django.db.models import Sum
from pytest_django import Settings

from ingestion.audit import audit
from ingestion.log.postgres import PostgresLog
from ingestion.log.producer import appender
from ingestion.models import Batch, DeadLetter, Event, PartitionCursor
from ingestion.replay import replay
from tests.sentinel.pipeline.conftest import Partition, Worker, event


@pytest.fixture(autouse=True)
def _inbox(settings: Settings, transactional_db: None) -> Iterator[None]:
    settings.SENTINEL_BROKERS = []
    appender.cache_clear()
    yield
    appender().close()
    appender.cache_clear()


@pytest.fixture
def letters(partition: Partition, worker: Worker, settings: Settings) -> list[int]:
    """Give five good events that were rejected while the limit was too low."""
    good = settings.SENTINEL_MAX_EVENT_BYTES
    settings.SENTINEL_MAX_EVENT_BYTES = 100
    partition.append(*[event(n) for n in range(5)])
    worker.drain(partition, batch_records=5)
    settings.SENTINEL_MAX_EVENT_BYTES = good
    return list(DeadLetter.objects.filter(cursor_id=partition.cursor_id).values_list("pk", flat=True))


def ingest_all(partition: Partition, worker: Worker) -> None:
    """Ingest every partition of the topic: a replayed event goes to that of its series."""
    project = partition.cursor.project
    for found in partition.log.partitions([partition.topic]):
        cursor, _ = PartitionCursor.objects.get_or_create(
            cluster_id=found.cluster_id, topic_id=found.topic_id, partition=found.partition,
            defaults={"project": project, "topic": found.topic},
        )  # fmt: skip
        key = (found.topic, found.partition)
        worker.drain(Partition(cursor.pk, found.topic), batch_records=10, until=partition.log.end_offsets([key])[key])


def duplicates(partition: Partition) -> int:
    found = Batch.objects.filter(cursor__project=partition.cursor.project_id).aggregate(Sum("duplicates"))
    return int(found["duplicates__sum"] or 0)


def stored_ids(partition: Partition) -> list[str]:
    events = Event.objects.filter(project_id=partition.cursor.project_id)
    return sorted(str(item) for item in events.values_list("event_id", flat=True))


def statuses(letter_ids: list[int]) -> set[str]:
    return set(DeadLetter.objects.filter(pk__in=letter_ids).values_list("status", flat=True))


def test_a_replayed_event_is_stored_and_its_letter_marked(
    partition: Partition, worker: Worker, letters: list[int]
) -> None:
    assert stored_ids(partition) == []
    assert str(replay(letters)) == "5 replayed"
    ingest_all(partition, worker)
    assert len(stored_ids(partition)) == 5
    assert (duplicates(partition), statuses(letters)) == (0, {"replayed"})
    assert not any(item.problems for item in audit(PostgresLog()))


def test_two_replays_at_once_store_every_event_once(partition: Partition, worker: Worker, letters: list[int]) -> None:
    def run() -> None:
        try:
            replay(letters)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ingest_all(partition, worker)
    assert len(stored_ids(partition)) == 5
    assert (duplicates(partition), statuses(letters)) == (0, {"replayed"})


def test_an_event_whose_mark_was_lost_is_a_duplicate_when_it_is_replayed_again(
    partition: Partition, worker: Worker, letters: list[int]
) -> None:
    replay(letters)
    # As after a crash between the log and the mark.
    DeadLetter.objects.filter(pk__in=letters).update(status="open", replayed_at=None)
    assert str(replay(letters)) == "5 replayed"
    ingest_all(partition, worker)
    assert len(stored_ids(partition)) == 5
    assert duplicates(partition) == 5
    assert not any(item.problems for item in audit(PostgresLog()))


def test_what_is_still_no_event_gets_another_dead_letter(partition: Partition, worker: Worker) -> None:
    partition.append(b'{"service_name": "chat-api"}')
    worker.drain(partition, batch_records=1)
    letter = DeadLetter.objects.get(cursor_id=partition.cursor_id)
    replay([letter.pk])
    ingest_all(partition, worker)
    found = DeadLetter.objects.filter(project_id=partition.cursor.project_id).order_by("pk")
    assert [(item.status, item.payload) for item in found] == [("replayed", letter.payload), ("open", letter.payload)]
