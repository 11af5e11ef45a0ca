"""Whoever sends nothing but rejects gets short ranges, so that no process is held for long; what is kept is the same."""

from __future__ import annotations

from ingestion import cursor as cursors
from ingestion.audit import audit
from ingestion.cursor import Dispatch
from ingestion.models import Batch, DeadLetter, Event
from ingestion.range_size import MAX_REJECTED
from sentinel.outcome import Outcome
from tests.sentinel.pipeline.broken_log import BrokenLog, breaks_decoding
from tests.sentinel.pipeline.conftest import Partition, Worker, event, new_worker

FLOOD = 2 * MAX_REJECTED + 200


def attempt(partition: Partition, worker: Worker) -> Dispatch | None:
    """Ingest one range that the bridge sends; return what the worker hands over."""
    task = cursors.dispatch(partition.cursor, end=partition.end)
    assert task is not None
    assert worker.pipeline.ingest(task) is Outcome.COMMITTED
    return worker.sent.pop() if worker.sent else None


def ranges(partition: Partition) -> list[tuple[int, int]]:
    found = Batch.objects.filter(cursor_id=partition.cursor_id).order_by("start_offset")
    return list(found.values_list("start_offset", "end_offset"))


def ingest_all(partition: Partition, worker: Worker) -> None:
    task = attempt(partition, worker)
    while task is not None:
        assert worker.pipeline.ingest(task) is Outcome.COMMITTED
        task = worker.sent.pop() if worker.sent else None


def test_a_range_ends_with_so_many_rejects_and_so_does_the_next(partition: Partition, worker: Worker) -> None:
    partition.append(*[b"{"] * FLOOD)
    ingest_all(partition, worker)
    assert ranges(partition) == [(0, 1_000), (1_000, 2_000), (2_000, 2_200)]


def test_the_next_range_is_no_longer_than_what_will_be_decoded(partition: Partition, worker: Worker) -> None:
    partition.append(*[b"{"] * FLOOD)
    handed_over = attempt(partition, worker)
    assert handed_over is not None
    assert (handed_over.start, handed_over.end) == (MAX_REJECTED, 2 * MAX_REJECTED)


def test_every_record_of_a_flood_is_accounted_for_once(partition: Partition, worker: Worker) -> None:
    partition.append(*[event(n) if n % 10 == 9 else b"{" for n in range(FLOOD)])
    ingest_all(partition, worker)
    assert Event.objects.filter(project_id=partition.cursor.project_id).count() == FLOOD // 10
    letters = DeadLetter.objects.filter(cursor_id=partition.cursor_id)
    assert set(letters.values_list("log_offset", flat=True)) == {n for n in range(FLOOD) if n % 10 != 9}
    (found,) = audit(partition.log)
    assert (found.rejected, list(found.problems)) == (FLOOD - FLOOD // 10, [])


def test_a_few_rejects_shorten_nothing(partition: Partition, worker: Worker) -> None:
    partition.append(*[b"{" if n % 10 == 0 else event(n) for n in range(FLOOD)])
    ingest_all(partition, worker)
    assert ranges(partition) == [(0, FLOOD)]


def test_the_proof_that_a_build_works_is_found_behind_a_flood(partition: Partition, redis_url: str) -> None:
    """A record that breaks decoding is set aside once an event is stored with it, be that after ever so many rejects."""
    partition.append(b"bad", *[b"{"] * MAX_REJECTED, b"{", event(1))
    worker = new_worker(log=BrokenLog(breaks_decoding, lambda offset: offset == 0))
    ingest_all(partition, worker)
    assert DeadLetter.objects.get(cursor_id=partition.cursor_id, log_offset=0).reason == "stage_failed"
    assert ranges(partition)[-1][1] == partition.end
