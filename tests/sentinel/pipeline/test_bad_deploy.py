"""A new build that rejects what the old one took halts before it has set everything aside; a bad producer halts nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_django import DjangoAssertNumQueries, Settings

from ingestion import cursor as cursors
from ingestion.audit import audit
from ingestion.bad_deploy import BadDeploy, BuildWatch, Share
from ingestion.models import Batch, DeadLetter, Event, HaltReason, PartitionCursor
from sentinel.outcome import Outcome
from tests.sentinel.pipeline.conftest import Partition, Worker, event, new_worker


def drain_until_halted(partition: Partition, worker: Worker, *, batch_records: int) -> None:
    while not partition.cursor.halted_reason:
        cursor = partition.cursor
        task = cursors.dispatch(cursor, end=min(partition.end, cursor.next_offset + batch_records))
        assert task is not None
        assert worker.pipeline.ingest(task) in {Outcome.COMMITTED, Outcome.HALTED}


@pytest.fixture
def rejects_all(settings: Settings) -> Callable[[], None]:
    """Let every worker from now on reject what it reads, as a bug in validation would."""

    def break_validation() -> None:
        settings.SENTINEL_MAX_EVENT_BYTES = 10

    return break_validation


@pytest.mark.parametrize("batch_records", [10, 30, 3_000])
def test_a_new_build_that_rejects_all_halts_and_loses_nothing(
    partition: Partition, redis_url: str, rejects_all: Callable[[], None], settings: Settings, batch_records: int
) -> None:
    size = settings.SENTINEL_MAX_EVENT_BYTES
    partition.append(*[event(n) for n in range(300)])
    new_worker(build="b1").drain(partition, batch_records=50, until=100)
    rejects_all()
    drain_until_halted(partition, new_worker(build="b2"), batch_records=batch_records)
    cursor = partition.cursor
    assert cursor.halted_because == HaltReason.BAD_DEPLOY
    set_aside = DeadLetter.objects.filter(cursor=cursor).count()
    assert set_aside < 50
    assert cursor.next_offset == 100 + set_aside
    assert "build b2 rejects 100.0%" in cursor.halted_reason
    assert "build b1 before it 0.0% (0 of 100)" in cursor.halted_reason
    # The old build, back again, takes the rest.
    settings.SENTINEL_MAX_EVENT_BYTES = size
    PartitionCursor.objects.update(halted_reason="", halted_because="")
    new_worker(build="b1").drain(partition, batch_records=50)
    assert Event.objects.filter(project_id=cursor.project_id).count() == 300 - set_aside
    assert not any(item.problems for item in audit(partition.log))


def test_a_producers_bad_deploy_halts_nothing(partition: Partition, redis_url: str) -> None:
    partition.append(*[event(n) for n in range(100)], *[b"{"] * 300)
    worker = new_worker(build="b1")
    worker.drain(partition, batch_records=50)
    assert DeadLetter.objects.filter(cursor_id=partition.cursor_id).count() == 300


def test_a_build_that_a_person_accepted_halts_nothing(
    partition: Partition, redis_url: str, rejects_all: Callable[[], None]
) -> None:
    partition.append(*[event(n) for n in range(300)])
    new_worker(build="b1").drain(partition, batch_records=50, until=100)
    rejects_all()
    PartitionCursor.objects.update(accepted_build="b2")
    new_worker(build="b2").drain(partition, batch_records=50)
    assert DeadLetter.objects.filter(cursor_id=partition.cursor_id).count() == 200


def test_the_first_build_of_all_has_nothing_to_be_compared_with(
    partition: Partition, redis_url: str, rejects_all: Callable[[], None]
) -> None:
    partition.append(*[event(n) for n in range(300)])
    rejects_all()
    new_worker(build="b1").drain(partition, batch_records=50)
    assert DeadLetter.objects.filter(cursor_id=partition.cursor_id).count() == 300


class TestBuildWatch:
    @pytest.fixture
    def cursor(self, partition: Partition) -> PartitionCursor:
        add_batch(partition, 0, 1_000, build="b1")
        PartitionCursor.objects.update(next_offset=1_000)
        return partition.cursor

    def test_a_batch_without_rejects_asks_nothing(
        self, cursor: PartitionCursor, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        with django_assert_num_queries(0):
            BuildWatch("b2").check(cursor, Share(3_000, 0))

    def test_one_with_rejects_asks_once(
        self, cursor: PartitionCursor, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        with django_assert_num_queries(1):
            BuildWatch("b2").check(cursor, Share(3_000, 10))

    def test_a_build_that_is_no_longer_new_is_left_alone_for_good(
        self, cursor: PartitionCursor, partition: Partition, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        add_batch(partition, 1_000, 22_000, build="b2")
        PartitionCursor.objects.update(next_offset=22_000)
        watch = BuildWatch("b2")
        watch.check(partition.cursor, Share(3_000, 3_000))
        current = partition.cursor
        with django_assert_num_queries(0):
            watch.check(current, Share(3_000, 3_000))

    def test_small_batches_add_up(self, cursor: PartitionCursor, partition: Partition) -> None:
        add_batch(partition, 1_000, 1_040, build="b2", rejected=40)
        PartitionCursor.objects.update(next_offset=1_040)
        watch = BuildWatch("b2")
        watch.check(partition.cursor, Share(9, 9))
        with pytest.raises(BadDeploy, match=r"b2 rejects 100.0% \(50 of 50\), build b1 before it 0.0% \(0 of 1,000\)"):
            watch.check(partition.cursor, Share(10, 10))

    def test_a_rolling_deploy_is_judged_by_each_builds_own_batches(
        self, cursor: PartitionCursor, partition: Partition
    ) -> None:
        for start in range(1_000, 1_100, 20):
            add_batch(partition, start, start + 10, build="b2", rejected=10)
            add_batch(partition, start + 10, start + 20, build="b1")
        PartitionCursor.objects.update(next_offset=1_100)
        BuildWatch("b1").check(partition.cursor, Share(10, 1))
        with pytest.raises(BadDeploy):
            BuildWatch("b2").check(partition.cursor, Share(10, 10))


def add_batch(partition: Partition, start: int, end: int, *, build: str, rejected: int = 0) -> None:
    Batch.objects.create(
        cursor_id=partition.cursor_id, attempt=1, start_offset=start, end_offset=end, stored=end - start - rejected,
        rejected=rejected, worker_build=build,
    )  # fmt: skip
