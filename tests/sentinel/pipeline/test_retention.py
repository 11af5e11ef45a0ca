"""Days and rows go when nobody keeps them, and the audit still holds."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
import redis
from django.db import OperationalError, connection

from detection.baselines import BaselineStore
from detection.checkpoint import checkpoint_offsets
from detection.models import Baseline
from ingestion.audit import audit
from ingestion.lateness import UNCOVERED_REFRESH_SECONDS
from ingestion.models import Batch, DeadLetter, Event, LateEvent, Project
from ingestion.partitions import attached_days, drop_expired, ensure_partitions
from ingestion.retention import delete_expired
from sentinel.outcome import Outcome
from tests.sentinel.pipeline.conftest import NOW, Partition, Worker, event, new_partition, new_worker

OLD = NOW - timedelta(days=10)
NOON = NOW.replace(hour=12)


def problems(partition: Partition) -> list[str]:
    (found,) = audit(partition.log)
    return list(found.problems)


def count(partition: Partition) -> int:
    return Event.objects.filter(project_id=partition.cursor.project_id).count()


def test_a_day_that_no_project_keeps_is_dropped(partition: Partition, worker: Worker) -> None:
    partition.append(event(1), event(2, timestamp=OLD.isoformat()))
    worker.drain(partition, batch_records=10)
    Project.objects.update(retention_days=5)
    dropped = drop_expired()
    assert f"events_{OLD:%Y%m%d}" in dropped
    assert OLD.date() not in attached_days("events")
    assert count(partition) == 1
    assert problems(partition) == []


def test_events_of_a_missing_day_are_late_until_an_operator_has_made_it(partition: Partition, worker: Worker) -> None:
    with connection.cursor() as sql:
        sql.execute(f"DROP TABLE events_{OLD:%Y%m%d}")
    partition.append(event(1, timestamp=OLD.isoformat()))
    worker.drain(partition, batch_records=10)
    assert (count(partition), LateEvent.objects.get().reason) == (0, "no_partition")
    ensure_partitions()
    time.sleep(UNCOVERED_REFRESH_SECONDS)
    partition.append(event(2, timestamp=OLD.isoformat()))
    worker.drain(partition, batch_records=10)
    assert (count(partition), LateEvent.objects.count()) == (1, 1)
    assert problems(partition) == []


def test_a_day_that_one_project_keeps_loses_the_rows_of_the_others(partition: Partition, worker: Worker) -> None:
    partition.append(event(1), event(2, timestamp=OLD.isoformat()))
    worker.drain(partition, batch_records=10)
    Project.objects.filter(pk=partition.cursor.project_id).update(retention_days=5)
    assert drop_expired() == []
    BaselineStore().checkpoint_idle(idle_seconds=-1)
    assert delete_expired(needed_from=checkpoint_offsets())["events"] == 1
    assert count(partition) == 1
    assert problems(partition) == []


def test_rows_that_a_rebuild_needs_stay_until_a_checkpoint_was_written(
    partition: Partition, worker: Worker, redis_url: str
) -> None:
    partition.append(event(1), event(2, timestamp=OLD.isoformat()))
    worker.drain(partition, batch_records=10)
    Baseline.objects.all().delete()
    Project.objects.filter(pk=partition.cursor.project_id).update(retention_days=5)
    assert delete_expired(needed_from=checkpoint_offsets())["events"] == 0
    redis.Redis.from_url(redis_url).flushall()
    partition.append(event(3))
    assert set(new_worker().drain(partition, batch_records=10)) == {Outcome.COMMITTED}
    BaselineStore().checkpoint_idle(idle_seconds=-1)
    assert delete_expired(needed_from=checkpoint_offsets())["events"] == 1
    redis.Redis.from_url(redis_url).flushall()
    partition.append(event(4))
    assert set(new_worker().drain(partition, batch_records=10)) == {Outcome.COMMITTED}


def test_a_partition_that_cannot_be_rebuilt_keeps_no_other_from_its_checkpoint(
    partition: Partition, worker: Worker, redis_url: str
) -> None:
    sibling = new_partition()
    for each in (partition, sibling):
        each.append(event(1), event(2))
        worker.drain(each, batch_records=10)
    Baseline.objects.all().delete()
    Event.objects.filter(cursor_id=partition.cursor_id, log_offset=0).delete()
    redis.Redis.from_url(redis_url).flushall()
    assert BaselineStore().checkpoint_idle(idle_seconds=-1) == 1
    assert set(checkpoint_offsets()) == {sibling.cursor_id}


def test_old_dead_letters_go(partition: Partition, worker: Worker) -> None:
    partition.append(b"{", event(1))
    worker.drain(partition, batch_records=10)
    DeadLetter.objects.update(created_at=datetime.now(UTC) - timedelta(days=40))
    assert delete_expired(needed_from={})["ingestion_deadletter"] == 1
    assert problems(partition) == []


def test_the_inbox_keeps_what_was_not_read(partition: Partition, worker: Worker) -> None:
    partition.append(event(1))
    yesterday = datetime.now(UTC) - timedelta(days=1)
    ensure_partitions(today=yesterday.date())
    with connection.cursor() as sql:
        sql.execute("UPDATE inbox SET appended_at = %s", [yesterday])
    name = f"inbox_{yesterday:%Y%m%d}"
    assert name not in drop_expired(now=NOON)
    worker.drain(partition, batch_records=10)
    assert drop_expired(now=NOON) == [name]
    assert partition.log.beginning_offsets([(partition.topic, 0)]) == {(partition.topic, 0): 1}


def test_making_partitions_again_makes_none(partition: Partition) -> None:
    assert ensure_partitions() == []


def test_partitions_reach_from_the_oldest_kept_day_to_three_days_ahead(partition: Partition) -> None:
    today = datetime.now(UTC).date()
    days = attached_days("events")
    assert days[0] <= today - timedelta(days=30)
    assert days[-1] == today + timedelta(days=3)
    assert len(days) == (days[-1] - days[0]).days + 1


def test_a_drop_that_a_long_reader_interrupted_is_finished_later(partition: Partition, worker: Worker) -> None:
    partition.append(event(1), event(2, timestamp=OLD.isoformat()))
    worker.drain(partition, batch_records=10)
    Project.objects.update(retention_days=5)
    name = f"events_{OLD:%Y%m%d}"
    with psycopg2.connect(_dsn()) as reader:
        reader.cursor().execute("SELECT count(*) FROM events")
        with pytest.raises(OperationalError):
            drop_expired()
    reader.close()
    drop_expired()
    assert name not in tables()
    assert OLD.date() not in attached_days("events")
    assert problems(partition) == []


def test_a_day_that_a_crash_left_detached_is_removed(partition: Partition, worker: Worker) -> None:
    partition.append(event(2, timestamp=OLD.isoformat()))
    worker.drain(partition, batch_records=10)
    name = f"events_{OLD:%Y%m%d}"
    with connection.cursor() as sql:
        sql.execute(f"ALTER TABLE events DETACH PARTITION {name}")
    assert problems(partition) == ["1 of 1 rows stored are missing"]
    assert name in drop_expired()
    assert name not in tables()
    assert problems(partition) == []


def tables() -> list[str]:
    return connection.introspection.table_names()


def _dsn() -> str:
    assert connection.connection is not None
    return str(connection.connection.dsn)


@pytest.mark.parametrize("table", ["events", "metric_rollup"])
def test_an_event_of_a_day_that_was_dropped_since_is_late_and_no_dead_letter(
    table: str, partition: Partition, worker: Worker
) -> None:
    partition.append(event(1), event(2, timestamp=OLD.isoformat()))
    worker.drain(partition, batch_records=10)
    with connection.cursor() as sql:
        sql.execute(f"DROP TABLE {table}_{OLD:%Y%m%d}")
    partition.append(event(3), event(4, timestamp=OLD.isoformat()))
    worker.drain(partition, batch_records=10)
    assert DeadLetter.objects.count() == 0
    assert list(LateEvent.objects.values_list("reason", flat=True)) == ["no_partition"]
    assert Batch.objects.latest("pk").stored == 1
    ensure_partitions()
