from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping

import pytest
from pytest_django import Settings

from ingestion.lag import LagReader, Place
from ingestion.log.configured import create_topics
from ingestion.models import InboxPartition, PartitionCursor, Project


def cursor_of(row: InboxPartition, *, next_offset: int, topic_id: str | None = None) -> PartitionCursor:
    return PartitionCursor(
        cluster_id="postgres",
        topic_id=topic_id or str(row.topic_id),
        topic=row.topic,
        partition=row.partition,
        next_offset=next_offset,
        project=Project(),
    )


@pytest.mark.django_db(transaction=True)
def test_lag_is_what_the_log_holds_beyond_the_cursor(settings: Settings) -> None:
    settings.SENTINEL_BROKERS = []
    create_topics(["llm.telemetry"])
    InboxPartition.objects.update(end_offset=5)
    row = InboxPartition.objects.get(partition=0)
    reader = LagReader()
    assert reader.lag(cursor_of(row, next_offset=3)) == 2
    assert reader.lag(cursor_of(row, next_offset=5)) == 0


@pytest.mark.django_db(transaction=True)
def test_a_topic_that_was_made_anew_has_no_lag_of_the_old_one(settings: Settings) -> None:
    settings.SENTINEL_BROKERS = []
    create_topics(["llm.telemetry"])
    row = InboxPartition.objects.get(partition=0)
    assert LagReader().lag(cursor_of(row, next_offset=0, topic_id="of the old one")) is None


def test_a_log_that_hangs_holds_nobody_up() -> None:
    release = threading.Event()
    asked = []

    def hang(topics: Collection[str]) -> Mapping[Place, int]:
        asked.append(topics)
        release.wait(10)
        return {}

    reader = LagReader(hang, timeout_seconds=0.1)
    row = InboxPartition(topic="llm.telemetry", partition=0)
    started = time.monotonic()
    for _ in range(5):
        assert reader.lag(cursor_of(row, next_offset=0)) is None
    assert time.monotonic() - started < 1
    release.set()
    assert len(asked) == 1
