"""PostgreSQL goes away under an attempt: its end is told once it is back, for an attempt that says nothing counts as dead."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from django.db import OperationalError, connection
from pytest_django import Settings

from ingestion import cursor as cursors
from ingestion.cursor import Dispatch
from ingestion.log.base import Chunk
from ingestion.log.postgres import PostgresLog
from sentinel.outcome import Outcome
from tests.sentinel.pipeline.conftest import Partition, event, new_worker

# Longer than a restart of PostgreSQL takes, and well within a task's time limit.
AWAY_SECONDS = 24.0


class LogOnAnIsland(PostgresLog):
    """A log during whose reading PostgreSQL goes away: this process reaches no server for `away_seconds`."""

    def __init__(self, *, away_seconds: float, directory: Path) -> None:
        self._away_seconds = away_seconds
        self._nowhere = str(directory)

    def read(self, topic: str, partition: int, start: int, end: int, *, max_bytes: int) -> Chunk:
        chunk = super().read(topic, partition, start, end, max_bytes=max_bytes)
        where = connection.settings_dict["HOST"]
        connection.settings_dict["HOST"] = self._nowhere
        self.back = threading.Timer(self._away_seconds, connection.settings_dict.update, kwargs={"HOST": where})
        self.back.start()
        connection.connection.close()
        return chunk


def dispatched(partition: Partition) -> Dispatch:
    partition.append(event(0))
    task = cursors.dispatch(partition.cursor, end=1)
    assert task is not None
    return task


@pytest.mark.slow
def test_an_attempt_that_postgresql_left_alone_for_long_is_told_as_failed(
    partition: Partition, redis_url: str, tmp_path: Path
) -> None:
    task = dispatched(partition)
    log = LogOnAnIsland(away_seconds=AWAY_SECONDS, directory=tmp_path)
    assert new_worker(log=log).pipeline.ingest(task) is Outcome.LOG_UNAVAILABLE
    cursor = partition.cursor
    assert cursor.ended_attempt == task.attempt
    assert cursor.last_error.startswith("log_unavailable: ")


def test_who_waits_for_postgresql_gives_up_before_the_task_is_killed(
    partition: Partition, redis_url: str, tmp_path: Path, settings: Settings
) -> None:
    settings.SENTINEL_TASK_TIME_LIMIT_SECONDS = 5
    task = dispatched(partition)
    log = LogOnAnIsland(away_seconds=4, directory=tmp_path)
    began_at = time.monotonic()
    with pytest.raises(OperationalError):
        new_worker(log=log).pipeline.ingest(task)
    assert 1 < time.monotonic() - began_at < 4
    log.back.join()
    assert partition.cursor.ended_attempt < task.attempt
