"""A record on which a stage breaks ends as a dead letter, alone, in the same attempt; its neighbours never notice."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from django.db import connection
from structlog.testing import capture_logs

from ingestion import cursor as cursors
from ingestion.audit import audit
from ingestion.log.base import Record
from ingestion.models import Batch, DeadLetter, HaltReason, PartitionCursor
from ingestion.resume import Choice, resume
from ingestion.suspicion import Suspicion
from sentinel.build import build_id
from sentinel.outcome import Outcome
from tests.sentinel.pipeline.broken_log import BrokenLog, breaks_decoding, breaks_scrubbing, takes_all_memory
from tests.sentinel.pipeline.conftest import Partition, Worker, event, new_partition, new_worker
from tests.sentinel.pipeline.test_same_verdicts import picture

RECORDS = 700
BAD = (0, 300, 301, 699)
# No stage looks into it before PostgreSQL does.
REFUSED_MODEL = "refused"


def attempt(partition: Partition, worker: Worker) -> Outcome:
    task = cursors.dispatch(partition.cursor, end=partition.end)
    assert task is not None
    return worker.pipeline.ingest(task)


def letters(partition: Partition) -> list[DeadLetter]:
    return list(DeadLetter.objects.filter(cursor_id=partition.cursor_id).order_by("log_offset"))


def with_bad(bad: Callable[[int], bytes]) -> list[bytes]:
    return [bad(n) if n in BAD else event(n) for n in range(RECORDS)]


@pytest.fixture
def reference(partition: Partition, worker: Worker) -> dict[str, Sequence[Any]]:
    """Give what the log leaves where the bad records are no events at all."""
    rejected = new_partition()
    rejected.append(*with_bad(lambda _: b"{}"))
    worker.drain(rejected, batch_records=RECORDS)
    return picture(rejected)


@pytest.fixture
def refusal(partition: Partition) -> Iterator[Callable[[str, str], None]]:
    """Let PostgreSQL refuse rows of a table with an SQLSTATE: those of `REFUSED_MODEL`."""
    tables = []

    def refuse(table: str, sqlstate: str) -> None:
        tables.append(table)
        with connection.cursor() as sql:
            sql.execute(
                f"CREATE FUNCTION refuse_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                f"RAISE EXCEPTION 'row %', NEW USING ERRCODE = '{sqlstate}'; END $$"
            )
            sql.execute(
                f"CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW "
                f"WHEN (NEW.model = '{REFUSED_MODEL}') EXECUTE FUNCTION refuse_{table}()"
            )

    yield refuse
    with connection.cursor() as sql:
        for table in tables:
            sql.execute(f"DROP TRIGGER refuse ON {table}; DROP FUNCTION refuse_{table}()")


@pytest.mark.parametrize("sqlstate", ["22003", "23502", "23514", "54000"])
def test_what_postgresql_refuses_is_set_aside_alone(
    reference: dict[str, Sequence[Any]], worker: Worker, refusal: Callable[[str, str], None], sqlstate: str
) -> None:
    refusal("events", sqlstate)
    partition = new_partition()
    partition.append(*with_bad(lambda n: event(n, model=REFUSED_MODEL)))
    assert attempt(partition, worker) is Outcome.COMMITTED
    found = letters(partition)
    assert [letter.log_offset for letter in found] == list(BAD)
    assert {(letter.reason, letter.stage) for letter in found} == {("storage_refused", "store")}
    assert all(sqlstate in letter.message for letter in found)
    assert picture(partition) == reference
    assert not any(item.problems for item in audit(partition.log))


def test_an_error_of_detection_is_set_aside_alone(
    partition: Partition, worker: Worker, refusal: Callable[[str, str], None]
) -> None:
    refusal("detection_anomaly", "22003")
    partition.append(*[event(n, model=REFUSED_MODEL if n % 2 else "other") for n in range(600)])
    worker.drain(partition, batch_records=600)
    found = letters(partition)
    assert found
    assert {(letter.reason, letter.stage) for letter in found} == {("storage_refused", "detect")}
    assert not any(item.problems for item in audit(partition.log))


@pytest.mark.parametrize(
    ("spoil", "reason", "stage"),
    [
        (breaks_decoding, "stage_failed", "decode"),
        (breaks_scrubbing, "stage_failed", "scrub"),
        (takes_all_memory, "out_of_memory", "scrub"),
    ],
)
def test_an_exception_of_a_stage_is_set_aside_alone(
    reference: dict[str, Sequence[Any]], redis_url: str, spoil: Callable[[Record], Record], reason: str, stage: str
) -> None:
    partition = new_partition()
    partition.append(*[event(n) for n in range(RECORDS)])
    worker = new_worker(log=BrokenLog(spoil, BAD.__contains__))
    assert attempt(partition, worker) is Outcome.COMMITTED
    found = letters(partition)
    assert [(letter.log_offset, letter.reason, letter.stage) for letter in found] == [
        (offset, reason, stage) for offset in BAD
    ]
    assert picture(partition) == reference
    assert not any(item.problems for item in audit(partition.log))


def test_one_bad_record_costs_few_tries(partition: Partition, redis_url: str) -> None:
    partition.append(*[event(n) for n in range(RECORDS)])
    log = BrokenLog(breaks_decoding, {421}.__contains__)
    with capture_logs() as lines:
        assert attempt(partition, new_worker(log=log)) is Outcome.COMMITTED
    broken = [line for line in lines if line["event"] == "ingest.stage_failed"]
    assert len(broken) + Batch.objects.count() <= 2 * math.log2(RECORDS)
    assert log.reads == len(broken) + Batch.objects.count()


def test_neither_message_nor_log_quote_the_record(partition: Partition, redis_url: str) -> None:
    partition.append(*[event(n) for n in range(4)])
    with capture_logs() as lines:
        attempt(partition, new_worker(log=BrokenLog(breaks_decoding, {2}.__contains__)))
    (letter,) = letters(partition)
    assert letter.message == "RuntimeError in phase decode"
    assert "nobody may see" not in str(lines)


def test_a_record_that_breaks_decoding_keeps_its_scrubbed_payload(partition: Partition, redis_url: str) -> None:
    partition.append(event(0), event(1, errors=["write to jane.doe@example.com"]))
    attempt(partition, new_worker(log=BrokenLog(breaks_decoding, {1}.__contains__)))
    (letter,) = letters(partition)
    assert "[EMAIL]" in letter.payload
    assert "jane.doe" not in letter.payload


def test_a_record_that_breaks_the_scrubber_leaves_size_and_digest_only(partition: Partition, redis_url: str) -> None:
    partition.append(event(0), event(1))
    attempt(partition, new_worker(log=BrokenLog(breaks_scrubbing, {1}.__contains__)))
    (letter,) = letters(partition)
    assert letter.payload == ""
    assert (letter.size_bytes, bytes(letter.sha256)) == (len(event(1)), hashlib.sha256(event(1)).digest())


def test_a_build_that_breaks_on_every_record_halts_and_sets_nothing_aside(partition: Partition, redis_url: str) -> None:
    partition.append(*[event(n) for n in range(50)])
    worker = new_worker(log=BrokenLog(breaks_scrubbing, lambda _: True))
    outcomes = [attempt(partition, worker) for _ in range(3)]
    assert outcomes == [Outcome.UNPROVEN, Outcome.UNPROVEN, Outcome.HALTED]
    assert partition.cursor.halted_because == HaltReason.POISONED_BUILD
    assert partition.cursor.next_offset == 0
    assert letters(partition) == []


@pytest.mark.parametrize("sqlstate", ["23502", "23514"])
def test_a_table_that_refuses_every_row_halts_the_partition_and_sets_nothing_aside(
    partition: Partition, worker: Worker, refusal: Callable[[str, str], None], sqlstate: str
) -> None:
    """So does a migration that adds a column while workers from before it run."""
    refusal("events", sqlstate)
    partition.append(*[event(n, model=REFUSED_MODEL) for n in range(50)])
    assert [attempt(partition, worker) for _ in range(3)] == [Outcome.UNPROVEN, Outcome.UNPROVEN, Outcome.HALTED]
    cursor = partition.cursor
    assert (cursor.halted_because, cursor.next_offset) == (HaltReason.POISONED_BUILD, 0)
    assert f"{sqlstate} in phase store" in cursor.halted_reason
    assert letters(partition) == []


def test_what_another_partition_stored_before_the_range_broke_proves_nothing(
    partition: Partition, worker: Worker, refusal: Callable[[str, str], None]
) -> None:
    sibling = new_partition()
    sibling.append(event(1))
    partition.append(*[event(n, model=REFUSED_MODEL) for n in range(50)])
    task = cursors.dispatch(partition.cursor, end=partition.end)
    assert task is not None
    worker.drain(sibling, batch_records=10)
    refusal("events", "23502")
    assert worker.pipeline.ingest(task) is Outcome.UNPROVEN
    assert attempt(partition, worker) is Outcome.UNPROVEN
    assert letters(partition) == []


def test_a_lone_bad_record_waits_until_another_proves_that_it_is_not_the_build(
    partition: Partition, redis_url: str
) -> None:
    partition.append(event(0))
    worker = new_worker(log=BrokenLog(breaks_scrubbing, {0}.__contains__))
    assert attempt(partition, worker) is Outcome.UNPROVEN
    assert partition.cursor.last_error == (
        "unproven: no record has gone through this build since: RuntimeError in phase scrub"
    )
    partition.append(event(1))
    assert attempt(partition, worker) is Outcome.COMMITTED
    assert [letter.log_offset for letter in letters(partition)] == [0]


def test_another_partition_proves_that_it_is_not_the_build(partition: Partition, redis_url: str) -> None:
    sibling = new_partition()
    partition.append(event(0))
    worker = new_worker(log=BrokenLog(breaks_scrubbing, lambda offset: offset == 0))
    assert attempt(partition, worker) is Outcome.UNPROVEN
    sibling.append(b"{}", event(1))
    new_worker().drain(sibling, batch_records=10)
    assert attempt(partition, worker) is Outcome.COMMITTED
    assert len(letters(partition)) == 1


def test_a_build_that_breaks_on_one_partition_alone_halts_it_after_three_records(
    partition: Partition, redis_url: str
) -> None:
    """All the others prove the build, and it would set the whole partition aside."""
    sibling = new_partition()
    partition.append(*[event(n) for n in range(300)])
    worker = new_worker(log=BrokenLog(breaks_decoding, lambda offset: offset >= 200))
    while attempt(partition, worker) is not Outcome.HALTED:
        sibling.append(event(partition.cursor.attempt))
        new_worker().drain(sibling, batch_records=10)
        assert partition.cursor.next_offset < partition.end
    assert len(letters(partition)) == 3
    assert partition.cursor.halted_because == HaltReason.POISONED_BUILD
    assert partition.cursor.halted_reason == (
        "3 records in a row set aside, none stored between: RuntimeError in phase decode"
    )


def test_a_build_that_breaks_on_one_series_of_many_halts_the_partition_after_twenty_records(
    partition: Partition, redis_url: str
) -> None:
    partition.append(*[event(n) for n in range(300)])
    worker = new_worker(log=BrokenLog(breaks_decoding, lambda offset: offset >= 100 and offset % 3 == 0))
    while attempt(partition, worker) is not Outcome.HALTED:
        assert partition.cursor.next_offset < partition.end
    assert len(letters(partition)) == 20
    assert "20 of the last 2,000 records set aside" in partition.cursor.halted_reason
    mended = new_worker(build="mended")
    resume(partition.cursor, Choice(), by="ada")
    mended.drain(partition, batch_records=100)
    assert len(letters(partition)) == 20
    assert not any(item.problems for item in audit(partition.log))


def test_what_a_person_sets_aside_says_so(partition: Partition, redis_url: str) -> None:
    partition.append(*[event(n) for n in range(5)])
    worker = new_worker(log=BrokenLog(breaks_decoding, lambda _: True))
    while attempt(partition, worker) is not Outcome.HALTED:
        assert letters(partition) == []
    resume(partition.cursor, Choice(set_aside=True), by="ada")
    new_worker().drain(partition, batch_records=10)
    (letter,) = letters(partition)
    assert (letter.log_offset, letter.reason, letter.stage, letter.payload) == (0, "by_person", "", "")
    assert letter.message.startswith("set aside by ada, after a halt: 3 records in a row break a stage")


def test_an_error_that_no_record_can_have_caused_ends_the_attempt_and_sets_nothing_aside(
    partition: Partition, worker: Worker
) -> None:
    partition.append(*[event(n) for n in range(10)])
    with connection.cursor() as sql:
        sql.execute("ALTER TABLE ingestion_batch ADD CONSTRAINT refuse CHECK (false) NOT VALID")
    try:
        assert attempt(partition, worker) is Outcome.UNPROVEN
    finally:
        with connection.cursor() as sql:
            sql.execute("ALTER TABLE ingestion_batch DROP CONSTRAINT refuse")
    assert partition.cursor.next_offset == 0
    assert attempt(partition, worker) is Outcome.COMMITTED
    assert letters(partition) == []


def condemn(partition: Partition, *, end: int, build: str = "") -> cursors.Dispatch:
    suspicion = Suspicion(suspect_end=partition.cursor.next_offset + 1, strikes=5, lone_strikes=3, build=build)
    PartitionCursor.objects.filter(pk=partition.cursor_id).update(death_signal=11, phase="scrub")
    task = cursors.dispatch(partition.cursor, end=end, suspicion=suspicion, condemn=True)
    assert task is not None
    return task


def test_a_condemned_record_is_set_aside_unread_and_the_rest_goes_on(partition: Partition, redis_url: str) -> None:
    partition.append(event(0), event(1), event(2))
    worker = new_worker(log=BrokenLog(breaks_decoding, {1}.__contains__))
    worker.drain(partition, batch_records=1, until=1)
    assert worker.pipeline.ingest(condemn(partition, end=2, build=build_id())) is Outcome.COMMITTED
    (letter,) = letters(partition)
    assert (letter.log_offset, letter.reason, letter.stage) == (1, "killed_worker", "scrub")
    assert letter.message == "its worker was killed 3 times with it alone, at last by SIGSEGV in scrub"
    assert (letter.payload, letter.size_bytes) == ("", len(event(1)))
    assert bytes(letter.sha256) == hashlib.sha256(event(1)).digest()
    assert partition.cursor.condemned_offset is None
    worker.drain(partition, batch_records=10)
    assert [batch.rejected for batch in Batch.objects.order_by("start_offset")] == [0, 1, 0]
    assert not any(item.problems for item in audit(partition.log))


@pytest.mark.parametrize(("condemned_by", "letters_left"), [("crashes", 0), ("mended", 1), ("", 1)])
def test_what_another_build_died_of_is_read_again(
    partition: Partition, redis_url: str, condemned_by: str, letters_left: int
) -> None:
    """No build at all is a person's decision."""
    partition.append(event(0))
    worker = new_worker(build="mended")
    assert worker.pipeline.ingest(condemn(partition, end=1, build=condemned_by)) is Outcome.COMMITTED
    assert len(letters(partition)) == letters_left
    assert partition.cursor.condemned_offset is None


def test_of_a_longer_range_only_the_condemned_record_is_taken(partition: Partition, worker: Worker) -> None:
    partition.append(*[event(n) for n in range(5)])
    assert worker.pipeline.ingest(condemn(partition, end=5)) is Outcome.COMMITTED
    assert partition.cursor.next_offset == 1
    assert [(task.start, task.end) for task in worker.sent] == [(1, 5)]


def test_a_payload_is_valid_json_again_after_scrubbing(partition: Partition, redis_url: str) -> None:
    partition.append(event(0), event(1))
    attempt(partition, new_worker(log=BrokenLog(breaks_decoding, {1}.__contains__)))
    (letter,) = letters(partition)
    assert json.loads(letter.payload)["latency_ms"] == json.loads(event(1))["latency_ms"]
