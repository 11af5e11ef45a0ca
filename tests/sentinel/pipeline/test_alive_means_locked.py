"""One attempt at a time: whoever holds the cursor's session lock is alive."""

from __future__ import annotations

import threading
from contextlib import closing

from django.db import connection

from ingestion import cursor as cursors
from ingestion.cursor_lock import held_locks, holding_lock, terminate_backend
from sentinel.outcome import Outcome
from tests.sentinel.pipeline.conftest import Partition, Worker, event


def test_a_second_worker_answers_busy_and_the_range_waits_a_second(partition: Partition, worker: Worker) -> None:
    partition.append(event(1))
    task = cursors.dispatch(partition.cursor, end=1)
    assert task is not None
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with holding_lock(partition.cursor_id):
            held.set()
            done.wait(10)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    assert worker.pipeline.ingest(task) is Outcome.BUSY
    assert partition.cursor_id in held_locks()
    done.set()
    thread.join()
    cursor = partition.cursor
    assert cursor.ended_attempt == task.attempt
    assert cursor.retry_at is not None
    assert cursor.next_offset == 0


def test_a_finished_attempt_holds_no_lock(partition: Partition, worker: Worker) -> None:
    partition.append(event(1))
    worker.drain(partition, batch_records=1)
    assert partition.cursor_id not in held_locks()


def test_a_session_that_ended_while_its_worker_was_idle_costs_no_attempt(partition: Partition, worker: Worker) -> None:
    partition.append(event(1))
    task = cursors.dispatch(partition.cursor, end=1)
    assert task is not None
    end_session()
    assert worker.pipeline.ingest(task) is Outcome.COMMITTED
    assert partition.cursor.next_offset == 1


def test_a_session_that_ends_after_the_commit_takes_the_lock_and_no_more(partition: Partition) -> None:
    with holding_lock(partition.cursor_id) as held:
        assert held
        end_session()
    connection.close()
    assert partition.cursor_id not in held_locks()


def end_session() -> None:
    """End this test's database session from another one, as an administrator or a restart does."""
    with connection.cursor() as sql:
        sql.execute("SELECT pg_backend_pid()")
        (pid,) = sql.fetchone()
    with closing(connection.copy()) as other, other.cursor() as sql:
        sql.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def test_two_dispatchers_never_both_win(partition: Partition) -> None:
    seen = partition.cursor
    assert cursors.dispatch(seen, end=1) is not None
    assert cursors.dispatch(seen, end=1) is None


def test_a_stuck_session_is_ended_only_while_it_is_the_one_that_started(partition: Partition, worker: Worker) -> None:
    partition.append(event(1))
    task = cursors.dispatch(partition.cursor, end=1)
    assert task is not None
    cursor = cursors.start_attempt(task)
    assert cursor is not None
    cursor.backend_start = None
    assert terminate_backend(cursor) is False


def test_an_attempt_that_was_dispatched_while_another_committed_has_ended_with_it(partition: Partition) -> None:
    slow = cursors.dispatch(partition.cursor, end=1)
    assert slow is not None
    assert cursors.start_attempt(slow) is not None
    needless = cursors.dispatch(partition.cursor, end=1)
    assert needless is not None
    assert cursors.advance(slow, next_offset=1, end_offset=1, batch_records=1, stage_batches=0, watermark=None) is None
    assert partition.cursor.ended_attempt == needless.attempt
