"""A flood of rejects fills no table: beyond its project's quota a batch keeps one row that counts them."""

from __future__ import annotations

from prometheus_client import REGISTRY

from ingestion.audit import audit
from ingestion.models import DeadLetter, Event, Project
from ingestion.replay import replay
from tests.sentinel.pipeline.conftest import Partition, Worker, event


def flood(partition: Partition, worker: Worker) -> list[DeadLetter]:
    Project.objects.filter(pk=partition.cursor.project_id).update(dead_letters_per_hour=4)
    partition.append(*[event(n) if n % 10 == 9 else b"{" for n in range(30)])
    worker.drain(partition, batch_records=10)
    return list(DeadLetter.objects.filter(cursor_id=partition.cursor_id).order_by("log_offset"))


def over_quota_metric() -> float:
    return REGISTRY.get_sample_value("sentinel_dead_letters_over_quota_total") or 0.0


def test_beyond_the_quota_a_batch_keeps_one_row(partition: Partition, worker: Worker) -> None:
    found = flood(partition, worker)
    assert [(letter.log_offset, letter.records, letter.reason) for letter in found] == [
        (0, 1, "not_json"),
        (1, 1, "not_json"),
        (2, 1, "not_json"),
        (3, 1, "not_json"),
        (4, 5, "over_quota"),
        (10, 9, "over_quota"),
        (20, 9, "over_quota"),
    ]
    assert found[4].message == "5 records beyond 4 dead letters an hour: 5 not_json"
    assert (found[4].payload, bytes(found[4].sha256), found[4].size_bytes) == ("", b"", 5)
    assert Event.objects.filter(project_id=partition.cursor.project_id).count() == 3


def test_the_audit_adds_up_counted_records(partition: Partition, worker: Worker) -> None:
    flood(partition, worker)
    (found,) = audit(partition.log)
    assert (found.rejected, list(found.problems)) == (27, [])


def test_counted_records_are_not_replayed(partition: Partition, worker: Worker) -> None:
    found = flood(partition, worker)
    counted = [letter.pk for letter in found if letter.reason == "over_quota"]
    assert str(replay(counted)) == "0 replayed, 3 skipped (3 counted only)"


def test_the_metric_counts_them(partition: Partition, worker: Worker) -> None:
    before = over_quota_metric()
    flood(partition, worker)
    assert over_quota_metric() - before == 23
