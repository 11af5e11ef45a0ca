"""Workers that are replaced one after the other under load: no range fails, none is suspected."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from ingestion import cursor as cursors
from ingestion.failpoint import VARIABLE as FAILPOINTS
from ingestion.models import Batch, DeadLetter, PartitionCursor
from sentinel.child import wait_until
from sentinel.hints import send_range
from tests.sentinel.pipeline.conftest import Partition, event, partition
from tests.sentinel.running_worker import RunningWorker, running_worker

__all__ = ["partition"]  # the fixture

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("redis_server")]

RESTARTS = 4
RECORDS_PER_RESTART = 40
BATCH_RECORDS = 2
# So long that each signal meets a range under way.
RANGE_SECONDS = 0.1
NOT_STARTED_SECONDS = 2.0
DRAIN_SECONDS = 60


def test_replacing_workers_by_a_signal_to_their_group_fails_no_range(partition: Partition, tmp_path: Path) -> None:
    environment = {
        "SENTINEL_BATCH_RECORDS": str(BATCH_RECORDS),
        FAILPOINTS: f"before_commit=sleep({RANGE_SECONDS})",
    }
    hints = 0
    with ExitStack() as workers:

        def start(number: int) -> RunningWorker:
            return workers.enter_context(running_worker(tmp_path / str(number), environment=environment))

        worker = start(0)
        for number in range(1, RESTARTS + 1):
            successor = start(number)
            partition.append(*(event(partition.end + index) for index in range(RECORDS_PER_RESTART)))
            hints += send_next(partition)
            worker.busy_child(partition)
            worker.signal_group(signal.SIGTERM)
            hints += drain(partition)
            assert worker.process.wait(timeout=20) == 0, worker.log
            worker = successor
    cursor = partition.cursor
    batches = Batch.objects.filter(cursor_id=partition.cursor_id)
    ranges = batches.count()
    print(f"{RESTARTS} restarts, {ranges} ranges, {hints - RESTARTS} hints sent again")
    assert sum(batches.values_list("stored", flat=True)) == RESTARTS * RECORDS_PER_RESTART
    # Each attempt has committed its range, or was never started.
    assert cursor.attempt == ranges + hints - RESTARTS
    assert (cursor.death_signal, cursor.strikes, cursor.suspect_end) == (None, 0, None)
    assert not DeadLetter.objects.filter(cursor_id=partition.cursor_id).exists()


def drain(partition: Partition) -> int:
    """Wait until everything is ingested; send again, as the bridge does, what no worker starts. Return how often."""
    again = 0
    deadline = time.monotonic() + DRAIN_SECONDS
    while partition.cursor.next_offset < partition.end:
        assert time.monotonic() < deadline, "a range was given up without a word"
        before = position(partition.cursor)
        moved = wait_until(lambda: position(partition.cursor) != before, timeout_seconds=NOT_STARTED_SECONDS)  # noqa: B023
        if not moved and partition.cursor.started_at is None:
            again += send_next(partition)
    return again


def send_next(partition: Partition) -> int:
    """Dispatch the next few records; a hint may vanish with the connection that took it. Return 1, or 0 if too late."""
    cursor = partition.cursor
    task = cursors.dispatch(cursor, end=min(partition.end, cursor.next_offset + BATCH_RECORDS))
    if task is None:
        return 0
    send_range(task)
    return 1


def position(cursor: PartitionCursor) -> tuple[int, bool]:
    return cursor.attempt, cursor.started_at is not None
