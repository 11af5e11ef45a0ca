"""Every record ends in one place, however often it is sent or its range is tried."""

from __future__ import annotations

import json

from ingestion import cursor as cursors
from ingestion.audit import audit
from ingestion.models import Batch, DeadLetter, Event, LateEvent, Series
from sentinel.outcome import Outcome
from tests.sentinel.pipeline.conftest import NOW, Partition, Worker, event


def totals(partition: Partition) -> dict[str, int]:
    names = ("stored", "duplicates", "rejected", "late", "control")
    found = dict.fromkeys(names, 0)
    for batch in Batch.objects.filter(cursor_id=partition.cursor_id):
        for name in names:
            found[name] += getattr(batch, name)
    return found


def stored(partition: Partition) -> int:
    return Event.objects.filter(project_id=partition.cursor.project_id).count()


def test_every_event_is_stored_once(partition: Partition, worker: Worker) -> None:
    partition.append(*[event(n) for n in range(500)])
    worker.drain(partition, batch_records=120)
    assert stored(partition) == 500
    assert totals(partition) == {"stored": 500, "duplicates": 0, "rejected": 0, "late": 0, "control": 0}


def test_a_duplicate_within_a_batch_is_stored_once(partition: Partition, worker: Worker) -> None:
    partition.append(event(1), event(2), event(1), event(1))
    worker.drain(partition, batch_records=10)
    assert stored(partition) == 2
    assert totals(partition)["duplicates"] == 2


def test_a_duplicate_of_an_earlier_batch_is_stored_once(partition: Partition, worker: Worker) -> None:
    partition.append(*[event(n) for n in range(10)])
    worker.drain(partition, batch_records=10)
    partition.append(*[event(n) for n in range(5, 15)])
    worker.drain(partition, batch_records=10)
    assert stored(partition) == 15
    assert totals(partition) == {"stored": 15, "duplicates": 5, "rejected": 0, "late": 0, "control": 0}


def test_after_a_duplicate_the_partition_stages_for_a_while(partition: Partition, worker: Worker) -> None:
    partition.append(event(1), event(1))
    worker.drain(partition, batch_records=10)
    assert partition.cursor.stage_batches == 50
    partition.append(event(2))
    worker.drain(partition, batch_records=10)
    assert partition.cursor.stage_batches == 49


def test_the_same_event_at_another_time_is_another_event(partition: Partition, worker: Worker) -> None:
    partition.append(event(1), event(1, timestamp=NOW.isoformat()))
    worker.drain(partition, batch_records=10)
    assert stored(partition) == 2


def test_an_invalid_record_becomes_a_dead_letter_and_its_neighbours_are_stored(
    partition: Partition, worker: Worker
) -> None:
    partition.append(event(1), b"{not json", event(2, latency_ms=-5), event(3))
    worker.drain(partition, batch_records=10)
    assert stored(partition) == 2
    found = DeadLetter.objects.filter(cursor_id=partition.cursor_id).order_by("log_offset")
    assert [(letter.log_offset, letter.reason, letter.field) for letter in found] == [
        (1, "not_json", "$"),
        (2, "out_of_range", "latency_ms"),
    ]
    assert totals(partition)["rejected"] == 2


def test_a_dead_letter_holds_no_personal_data(partition: Partition, worker: Worker) -> None:
    body = json.loads(event(1))
    body["prompt"]["text"] = "write to jane.doe@example.com"
    body["latency_ms"] = "slow"
    partition.append(json.dumps(body).encode())
    worker.drain(partition, batch_records=10)
    letter = DeadLetter.objects.get(cursor_id=partition.cursor_id)
    assert "jane.doe" not in letter.payload
    assert "[EMAIL]" in letter.payload


def test_a_dead_letter_says_that_its_payload_was_cut(partition: Partition, worker: Worker) -> None:
    partition.append(event(1, latency_ms="slow"), event(2, latency_ms="slow", errors=["word " * 3_000]))
    worker.drain(partition, batch_records=10)
    found = DeadLetter.objects.filter(cursor_id=partition.cursor_id).order_by("log_offset")
    assert [letter.payload_cut for letter in found] == [False, True]


def test_an_event_outside_the_retention_is_kept_aside_as_late(partition: Partition, worker: Worker) -> None:
    partition.append(event(1, timestamp="2019-01-01T00:00:00Z"), event(2))
    worker.drain(partition, batch_records=10)
    assert stored(partition) == 1
    assert LateEvent.objects.get(cursor_id=partition.cursor_id).reason == "too_old"
    assert totals(partition)["late"] == 1


def test_a_late_event_that_is_sent_twice_is_kept_once(partition: Partition, worker: Worker) -> None:
    partition.append(*[event(1, timestamp="2019-01-01T00:00:00Z")] * 2)
    worker.drain(partition, batch_records=10)
    assert totals(partition) == {"stored": 0, "duplicates": 1, "rejected": 0, "late": 1, "control": 0}


def test_an_event_without_an_id_gets_one_from_its_place_in_the_log(partition: Partition, worker: Worker) -> None:
    body = json.loads(event(1))
    del body["event_id"]
    partition.append(json.dumps(body).encode(), json.dumps(body).encode())
    worker.drain(partition, batch_records=1)
    assert stored(partition) == 2


def test_a_task_that_runs_twice_changes_nothing(partition: Partition, worker: Worker) -> None:
    partition.append(*[event(n) for n in range(20)])
    task = cursors.dispatch(partition.cursor, end=20)
    assert task is not None
    assert worker.pipeline.ingest(task) is Outcome.COMMITTED
    assert worker.pipeline.ingest(task) is Outcome.STALE
    assert stored(partition) == 20
    assert Batch.objects.filter(cursor_id=partition.cursor_id).count() == 1


def test_an_older_attempt_quits(partition: Partition, worker: Worker) -> None:
    partition.append(event(1))
    old = cursors.dispatch(partition.cursor, end=1)
    new = cursors.dispatch(partition.cursor, end=1)
    assert old is not None
    assert new is not None
    assert worker.pipeline.ingest(old) is Outcome.STALE
    assert worker.pipeline.ingest(new) is Outcome.COMMITTED


def test_the_next_range_is_handed_over_with_the_commit(partition: Partition, worker: Worker) -> None:
    partition.append(*[event(n) for n in range(10)])
    task = cursors.dispatch(partition.cursor, end=4)
    assert task is not None
    worker.pipeline.ingest(task)
    assert [(sent.start, sent.end) for sent in worker.sent] == [(4, 10)]
    assert worker.pipeline.ingest(worker.sent[0]) is Outcome.COMMITTED
    assert partition.cursor.next_offset == 10


def test_series_are_made_for_what_is_stored(partition: Partition, worker: Worker) -> None:
    partition.append(event(0), event(1), event(3))
    worker.drain(partition, batch_records=10)
    found = Series.objects.filter(project_id=partition.cursor.project_id).values_list("service", "model")
    assert sorted(found) == [("service-0", "gpt-4o"), ("service-1", "gpt-4o")]


def test_the_audit_holds(partition: Partition, worker: Worker) -> None:
    partition.append(*[event(n) for n in range(50)], b"[]", event(7), event(9, timestamp="2019-01-01T00:00:00Z"))
    worker.drain(partition, batch_records=7)
    (found,) = audit(partition.log)
    assert list(found.problems) == []
    assert (found.stored, found.duplicates, found.rejected, found.late, found.lag) == (50, 1, 1, 1, 0)


def test_the_audit_notices_a_lost_row(partition: Partition, worker: Worker) -> None:
    partition.append(*[event(n) for n in range(5)])
    worker.drain(partition, batch_records=5)
    Event.objects.filter(log_offset=3).delete()
    (found,) = audit(partition.log)
    assert list(found.problems) == ["1 of 5 rows stored are missing"]


def test_the_audit_notices_a_hole_in_the_chain(partition: Partition, worker: Worker) -> None:
    partition.append(*[event(n) for n in range(6)])
    worker.drain(partition, batch_records=2)
    Batch.objects.filter(start_offset=2).delete()
    (found,) = audit(partition.log)
    assert "batches leave a hole between offsets 2 and 4" in found.problems
