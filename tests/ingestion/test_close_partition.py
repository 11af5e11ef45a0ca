from __future__ import annotations

import uuid

import pytest

from ingestion.close_partition import CloseRefused, close_partition, lost_offsets
from ingestion.log.postgres import PostgresLog, create_topics
from ingestion.models import Gap, InboxPartition, PartitionCursor, Project

pytestmark = pytest.mark.django_db


def cursor_of(topic_id: object, **values: int) -> PartitionCursor:
    row = {"next_offset": 40, "log_end": 52} | values
    return PartitionCursor.objects.create(
        project=Project.objects.get(slug="default"), cluster_id="postgres", topic_id=str(topic_id), topic="gone",
        partition=0, **row,
    )  # fmt: skip


def test_what_was_not_ingested_of_a_closed_partition_is_a_gap() -> None:
    cursor = cursor_of(uuid.uuid4())
    assert lost_offsets(cursor) == 12
    close_partition(cursor, PostgresLog())
    cursor.refresh_from_db()
    assert cursor.closed_at is not None
    assert cursor.next_offset == 52
    assert list(Gap.objects.values_list("start_offset", "end_offset", "reason")) == [(40, 52, "closed")]


def test_nothing_lost_is_no_gap() -> None:
    close_partition(cursor_of(uuid.uuid4(), log_end=40), PostgresLog())
    assert not Gap.objects.exists()


def test_a_partition_that_the_log_still_has_is_not_given_up() -> None:
    create_topics(["gone"])
    cursor = cursor_of(InboxPartition.objects.get(topic="gone", partition=0).topic_id)
    with pytest.raises(CloseRefused, match=r"the log still has gone\[0\]"):
        close_partition(cursor, PostgresLog())
    cursor.refresh_from_db()
    assert cursor.closed_at is None


def test_a_closed_partition_is_not_closed_again() -> None:
    cursor = cursor_of(uuid.uuid4())
    close_partition(cursor, PostgresLog())
    cursor.refresh_from_db()
    with pytest.raises(CloseRefused, match="is closed already"):
        close_partition(cursor, PostgresLog())


def test_a_cursor_that_moved_since_the_look_is_not_closed() -> None:
    cursor = cursor_of(uuid.uuid4())
    PartitionCursor.objects.update(next_offset=45)
    with pytest.raises(CloseRefused, match="has changed meanwhile"):
        close_partition(cursor, PostgresLog())
