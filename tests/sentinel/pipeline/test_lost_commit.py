"""An error during COMMIT says nothing about what became of it: the batch row does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection

from ingestion import cursor as cursors
from ingestion.audit import audit
from ingestion.cursor import Dispatch
from ingestion.models import Batch
from sentinel.outcome import Outcome
from tests.sentinel.pipeline.conftest import Partition, Worker, event, new_partition, new_worker
from tests.sentinel.pipeline.cut_commit import through_cutter
from tests.sentinel.pipeline.test_same_verdicts import picture

RECORDS = 600


@pytest.fixture
def reference(partition: Partition, worker: Worker) -> dict[str, Sequence[Any]]:
    partition.append(*[event(n) for n in range(RECORDS)])
    worker.drain(partition, batch_records=RECORDS)
    return picture(partition)


@pytest.fixture
def half_done(reference: dict[str, Sequence[Any]]) -> Partition:
    """Give a partition whose first 200 records are ingested."""
    partition = new_partition()
    partition.append(*[event(n) for n in range(RECORDS)])
    new_worker().drain(partition, batch_records=200, until=200)
    return partition


def dispatched(partition: Partition, *, end: int) -> Dispatch:
    task = cursors.dispatch(partition.cursor, end=end)
    assert task is not None
    return task


def stamp_in_redis(partition: Partition) -> int:
    client = redis.Redis.from_url(settings.REDIS_URL)
    (key,) = client.keys(f"*baselines*:{partition.cursor_id}")  # type: ignore[misc]
    stamp: bytes = client.hget(key, "stamp")  # type: ignore[assignment]
    return int(stamp.split(b".")[0])


@contextmanager
def sessions_end_in_commit() -> Iterator[None]:
    """Let the server end the session that commits a batch, in the middle of its COMMIT: nothing is committed."""
    with connection.cursor() as sql:
        sql.execute(
            "CREATE FUNCTION end_session() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;"
            "CREATE CONSTRAINT TRIGGER end_session AFTER INSERT ON ingestion_batch DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION end_session()"
        )
    try:
        yield
    finally:
        with connection.cursor() as sql:
            sql.execute("DROP TRIGGER end_session ON ingestion_batch; DROP FUNCTION end_session()")


def test_a_commit_whose_answer_was_lost_counts(reference: dict[str, Sequence[Any]], half_done: Partition) -> None:
    worker = new_worker()
    with through_cutter() as cutter:
        task = dispatched(half_done, end=400)
        worker.pipeline.ingest(task)  # nothing is lost on the way
        task = worker.sent[-1]
        assert (task.start, half_done.cursor.next_offset) == (400, 400)
        cutter.cuts_left = 1
        assert worker.pipeline.ingest(task) is Outcome.COMMITTED
        assert cutter.cuts == 1
    assert half_done.cursor.next_offset == RECORDS
    assert stamp_in_redis(half_done) == Batch.objects.filter(cursor=half_done.cursor).latest("id").pk
    assert picture(half_done) == reference
    assert not any(item.problems for item in audit(half_done.log))


def test_the_next_range_is_handed_over_although_the_answer_was_lost(half_done: Partition) -> None:
    worker = new_worker()
    with through_cutter() as cutter:
        task = dispatched(half_done, end=400)
        cutter.cuts_left = 1
        assert worker.pipeline.ingest(task) is Outcome.COMMITTED
    assert [(sent.start, sent.end) for sent in worker.sent] == [(400, RECORDS)]
    assert new_worker().pipeline.ingest(worker.sent[0]) is Outcome.COMMITTED


def test_a_commit_that_failed_is_tried_again(reference: dict[str, Sequence[Any]], half_done: Partition) -> None:
    worker = new_worker()
    before = stamp_in_redis(half_done)
    task = dispatched(half_done, end=RECORDS)
    with sessions_end_in_commit():
        assert worker.pipeline.ingest(task) is Outcome.DATABASE
    cursor = half_done.cursor
    assert (cursor.next_offset, cursor.ended_attempt, cursor.attempt) == (200, task.attempt, task.attempt)
    assert cursor.last_error.startswith("database: ")
    assert stamp_in_redis(half_done) == before
    assert worker.sent == []
    worker.drain(half_done, batch_records=RECORDS)
    assert picture(half_done) == reference
    assert not any(item.problems for item in audit(half_done.log))
