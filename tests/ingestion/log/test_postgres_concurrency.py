"""The PostgreSQL log with many appenders and a reader at once: offsets appear in order, and nothing is read past."""

from __future__ import annotations

import threading
import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from django.db import connection, connections, transaction

from ingestion.log.base import LogUnavailable, NewRecord, OffsetOutOfRange, Record
from ingestion.log.postgres import PostgresAppender, PostgresLog, append_now, create_topics
from ingestion.models import InboxPartition, PartitionCursor, Project
from ingestion.partitions import attached_days, drop_expired, ensure_partitions, partition_name

pytestmark = pytest.mark.django_db(transaction=True)

BIG = 10_000_000
TODAY = datetime.now(UTC)


@pytest.fixture
def topic() -> str:
    ensure_partitions()
    name = f"inbox-{uuid.uuid4()}"
    create_topics([name])
    return name


def end_of(topic: str) -> int:
    return PostgresLog().end_offsets([(topic, 0)])[(topic, 0)]


def append(topic: str, *values: bytes) -> None:
    append_now(topic, [NewRecord(None, value) for value in values])


@contextmanager
def running(*calls: Callable[[], Any]) -> Iterator[None]:
    """Run each call in a thread with a connection of its own until the block ends; raise what they raised."""
    errors: list[BaseException] = []

    def run(call: Callable[[], Any]) -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001  # Raised again by the test.
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(60)
    assert not errors, errors


def read_all(topic: str, until: Callable[[], bool]) -> list[Record]:
    """Read on as a worker does, up to each end that is seen, until the log is drained and `until` holds."""
    log = PostgresLog()
    records: list[Record] = []
    while True:
        finished = until()
        end = log.end_offsets([(topic, 0)])[(topic, 0)]
        while len(records) < end:
            chunk = log.read(topic, 0, len(records), end, max_bytes=2_000)
            # What the end promises is there at once: no hole is waited for, none is passed.
            assert [record.offset for record in chunk.records] == list(range(len(records), chunk.next_offset))
            assert chunk.next_offset > len(records)
            records += chunk.records
        if finished:
            return records


def test_many_appenders_and_a_reader_see_every_record_once_and_in_order(topic: str) -> None:
    appenders, batches = 6, 40
    left = threading.Semaphore(0)

    def write(name: int) -> Callable[[], None]:
        def go() -> None:
            for number in range(batches):
                append(topic, *[b"%d:%d:%d" % (name, number, index) for index in range(3)])
            left.release()

        return go

    done = 0

    def all_done() -> bool:
        nonlocal done
        while left.acquire(blocking=False):
            done += 1
        return done == appenders

    with running(*[write(name) for name in range(appenders)]):
        records = read_all(topic, all_done)
    values = [(record.value or b"").decode() for record in records]
    assert len(values) == len(set(values)) == appenders * batches * 3
    for name in range(appenders):
        own = [value for value in values if value.startswith(f"{name}:")]
        assert own == [f"{name}:{number}:{index}" for number in range(batches) for index in range(3)]
    times = [record.timestamp_ms for record in records]
    assert times == sorted(times)


def test_appenders_of_several_processes_share_a_partition(topic: str) -> None:
    appenders = [PostgresAppender() for _ in range(3)]

    def write(appender: PostgresAppender) -> Callable[[], None]:
        def go() -> None:
            for number in range(20):
                appender.append(topic, [NewRecord(None, b"%d" % number)], timeout_seconds=20)

        return go

    with running(*[write(appender) for appender in appenders]):
        pass
    assert end_of(topic) == len(read_all(topic, lambda: True)) == 60
    for appender in appenders:
        appender.close()


def raw_connection() -> Any:
    return psycopg2.connect(**connection.get_connection_params())


TAKE = """
    UPDATE ingestion_inboxpartition SET end_offset = end_offset + 2 WHERE topic = %s AND partition = 0
    RETURNING id, end_offset - 2
"""
PUT = "INSERT INTO inbox (inbox_partition_id, log_offset, appended_at, value) VALUES (%s, %s, clock_timestamp(), 'x')"


def half_an_append(raw: Any, topic: str) -> None:
    """Take two offsets and write the first of them."""
    with raw.cursor() as sql:
        sql.execute(TAKE, [topic])
        partition_id, base = sql.fetchone()
        sql.execute(PUT, [partition_id, base])


def test_an_appender_that_is_killed_half_way_leaves_no_hole(topic: str) -> None:
    append(topic, b"before")
    raw = raw_connection()
    half_an_append(raw, topic)
    assert end_of(topic) == 1
    with running(lambda: append(topic, b"after")):
        time.sleep(0.2)
        # The next appender waits for the offsets, readers for nothing.
        assert end_of(topic) == 1
        with connection.cursor() as sql:
            sql.execute("SELECT pg_terminate_backend(%s)", [raw.info.backend_pid])
    assert [record.value for record in read_all(topic, lambda: True)] == [b"before", b"after"]
    raw.close()


def test_an_append_that_is_rolled_back_burns_no_offset(topic: str) -> None:
    raw = raw_connection()
    half_an_append(raw, topic)
    raw.rollback()
    raw.close()
    with transaction.atomic():
        append(topic, b"never")
        transaction.set_rollback(True)
    append(topic, b"first")
    (record,) = read_all(topic, lambda: True)
    assert (record.offset, record.value) == (0, b"first")


def test_a_failed_append_of_one_topic_does_not_stop_the_appender(topic: str) -> None:
    appender = PostgresAppender()
    with pytest.raises(LogUnavailable):
        appender.append("nobody-has-this", [NewRecord(None, b"a")], timeout_seconds=10)
    appender.append(topic, [NewRecord(None, b"b")], timeout_seconds=10)
    assert end_of(topic) == 1
    appender.close()


def test_records_that_cannot_be_inserted_are_no_other_error_than_a_log_that_does_not_answer(topic: str) -> None:
    with transaction.atomic():
        with connection.cursor() as sql:
            sql.execute("ALTER TABLE inbox ADD CONSTRAINT none CHECK (false) NOT VALID")
        with pytest.raises(LogUnavailable, match="IntegrityError"):
            append(topic, b"a")
        transaction.set_rollback(True)
    assert end_of(topic) == 0


@pytest.mark.parametrize(("max_bytes", "count"), [(1, 1), (999, 1), (1_000, 1), (1_001, 2), (2_500, 3), (BIG, 5)])
def test_a_read_keeps_its_byte_budget(topic: str, max_bytes: int, count: int) -> None:
    append(topic, *[b"x" * 1_000] * 5)
    chunk = PostgresLog().read(topic, 0, 0, 5, max_bytes=max_bytes)
    assert (len(chunk.records), chunk.next_offset, chunk.end_offset) == (count, count, 5)


def test_a_read_of_large_records_holds_few_of_them_in_memory(topic: str) -> None:
    for _ in range(20):
        append(topic, b"x" * 1_000_000)
    tracemalloc.start()
    try:
        # psycopg2's own result is outside of Python's memory; what it turns into values is not.
        chunk = PostgresLog().read(topic, 0, 0, 20, max_bytes=2_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert chunk.next_offset == 2
    assert peak < 12_000_000


def test_a_missing_row_is_not_read_past(topic: str) -> None:
    append(topic, *[b"%d" % number for number in range(6)])
    with connection.cursor() as sql:
        sql.execute("DELETE FROM inbox WHERE log_offset = 3")
    with pytest.raises(OffsetOutOfRange):
        PostgresLog().read(topic, 0, 3, 6, max_bytes=BIG)
    with pytest.raises(OffsetOutOfRange):
        PostgresLog().read(topic, 0, 1, 6, max_bytes=BIG)
    assert PostgresLog().read(topic, 0, 0, 3, max_bytes=BIG).next_offset == 3


# --- days that are dropped -------------------------------------------------------------------------------------------


def move_to_yesterday(topic: str, *, below: int) -> str:
    """Let records have been appended yesterday; return the partition of that day."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    if yesterday.date() not in attached_days("inbox"):
        name = partition_name("inbox", yesterday.date())
        with connection.cursor() as sql:
            sql.execute(
                f'CREATE TABLE "{name}" PARTITION OF inbox FOR VALUES FROM (%s) TO (%s)',
                [f"{yesterday:%Y-%m-%d}T00:00:00Z", f"{datetime.now(UTC):%Y-%m-%d}T00:00:00Z"],
            )
    with connection.cursor() as sql:
        sql.execute(
            "UPDATE inbox SET appended_at = %s WHERE log_offset < %s AND inbox_partition_id = %s",
            [yesterday.replace(hour=12), below, InboxPartition.objects.get(topic=topic, partition=0).pk],
        )
    return partition_name("inbox", yesterday.date())


def consume(topic: str, until: int) -> PartitionCursor:
    place = InboxPartition.objects.get(topic=topic, partition=0)
    cursor, _ = PartitionCursor.objects.update_or_create(
        cluster_id="postgres",
        topic_id=str(place.topic_id),
        partition=0,
        defaults={
            "topic": topic,
            "project": Project.objects.get_or_create(slug=topic, name=topic)[0],
            "next_offset": until,
        },
    )
    return cursor


def test_a_consumed_day_is_dropped_under_a_reader_that_loses_nothing(topic: str) -> None:
    append(topic, *[b"%d" % number for number in range(40)])
    name = move_to_yesterday(topic, below=30)
    consume(topic, 30)
    stop = threading.Event()
    reads = 0

    def read() -> None:
        nonlocal reads
        while not stop.is_set():
            # A worker begins one record earlier, at its anchor, while that is there.
            for start in (29, 30):
                try:
                    chunk = PostgresLog().read(topic, 0, start, 40, max_bytes=BIG)
                except OffsetOutOfRange:
                    assert start == 29, "an offset that was not consumed is gone"
                    continue
                assert [record.offset for record in chunk.records] == list(range(start, 40))
                reads += 1

    with running(read):
        time.sleep(0.2)
        dropped = drop_expired(now=TODAY.replace(hour=12))
        time.sleep(0.2)
        stop.set()
    assert name in dropped
    assert reads > 2
    assert PostgresLog().beginning_offsets([(topic, 0)]) == {(topic, 0): 30}


def test_a_day_with_a_record_that_nobody_has_read_stays(topic: str) -> None:
    append(topic, *[b"%d" % number for number in range(10)])
    name = move_to_yesterday(topic, below=10)
    consume(topic, 9)
    assert name not in drop_expired(now=TODAY.replace(hour=12))
    assert PostgresLog().read(topic, 0, 9, 10, max_bytes=BIG).next_offset == 10


def test_a_day_that_has_just_ended_stays_for_appends_that_began_in_it(topic: str) -> None:
    append(topic, b"a")
    name = move_to_yesterday(topic, below=1)
    consume(topic, 1)
    assert name not in drop_expired(now=TODAY.replace(hour=0, minute=59))
    assert name in drop_expired(now=TODAY.replace(hour=1, minute=1))
