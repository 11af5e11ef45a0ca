"""What a worker's parent writes into the cursor when one of its processes died."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from ingestion import deaths
from ingestion.deaths import report_death, worker_name
from ingestion.models import PartitionCursor, Project

pytestmark = pytest.mark.django_db(transaction=True)

WORKER = "a-host:4711"


def busy(*, worker: str = WORKER, partition: int = 0, **fields: Any) -> PartitionCursor:
    """Make a cursor whose attempt `worker` has started and not ended."""
    project, _ = Project.objects.get_or_create(slug="deaths", defaults={"name": "deaths"})
    values = {"attempt": 3, "ended_attempt": 2, "started_at": timezone.now(), **fields}
    return PartitionCursor.objects.create(
        project=project, cluster_id="c", topic_id="t", topic="t", partition=partition, worker=worker, **values
    )


def signal_of(cursor: PartitionCursor) -> int | None:
    cursor.refresh_from_db()
    return cursor.death_signal


def test_a_process_is_named_by_host_and_id() -> None:
    assert worker_name() == f"{socket.gethostname()}:{os.getpid()}"
    assert worker_name(pid=12) == f"{socket.gethostname()}:12"


def test_a_death_is_written_into_the_attempt_of_that_worker_only() -> None:
    mine, other = busy(), busy(worker="a-host:4712", partition=1)
    assert report_death(worker=WORKER, signal_number=11) == 1
    assert (signal_of(mine), signal_of(other)) == (11, None)


@pytest.mark.parametrize(
    "idle", [{"ended_attempt": 3}, {"started_at": None, "dispatches": 2}], ids=["ended", "not started"]
)
def test_the_death_of_an_idle_worker_concerns_no_attempt(idle: dict[str, Any]) -> None:
    cursor = busy(**idle)
    assert report_death(worker=WORKER, signal_number=9) == 0
    assert signal_of(cursor) is None


def test_what_a_dead_worker_has_handed_over_and_maybe_not_sent_may_be_sent_again_at_once() -> None:
    cursor = busy(started_at=None, dispatches=1)
    assert report_death(worker=WORKER, signal_number=9) == 1
    assert signal_of(cursor) is None
    assert cursor.ended_attempt == cursor.attempt


@pytest.mark.parametrize("dispatches", [1, deaths.HASTY_DISPATCHES])
def test_a_task_that_a_dead_worker_had_not_begun_may_be_sent_again_at_once(dispatches: int) -> None:
    cursor = busy(worker="", started_at=None, dispatches=dispatches)
    assert report_death(worker=WORKER, signal_number=9, taken=[(cursor.pk, cursor.attempt)]) == 1
    assert signal_of(cursor) is None
    assert cursor.ended_attempt == cursor.attempt


@pytest.mark.parametrize(
    "fields",
    [{}, {"started_at": None, "attempt": 4}, {"started_at": None, "dispatches": deaths.HASTY_DISPATCHES + 1}],
    ids=["begun by another", "another attempt", "too often"],
)
def test_a_task_that_is_not_the_dead_workers_or_dies_again_and_again_is_not_given_up(fields: dict[str, Any]) -> None:
    cursor = busy(**{"worker": "a-host:4712", **fields})
    assert report_death(worker=WORKER, signal_number=9, taken=[(cursor.pk, 3)]) == 0
    assert signal_of(cursor) is None
    assert cursor.ended_attempt < cursor.attempt


def test_a_report_leaves_no_session_behind() -> None:
    busy()
    before = sessions()
    report_death(worker=WORKER, signal_number=9)
    deadline = time.monotonic() + 5
    while sessions() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sessions() == before


def test_a_report_waits_until_the_dead_workers_session_has_let_go_of_the_row() -> None:
    cursor = busy()
    with row_locked(cursor, seconds=0.5):
        assert report_death(worker=WORKER, signal_number=9) == 1
    assert signal_of(cursor) == 9


def test_a_report_on_a_row_that_stays_locked_gives_up() -> None:
    cursor = busy()
    with row_locked(cursor, seconds=30):
        began_at = time.monotonic()
        with pytest.raises(OperationalError, match="lock timeout"):
            report_death(worker=WORKER, signal_number=9)
        assert time.monotonic() - began_at < deaths.LOCK_TIMEOUT_MS / 1000 + 2


@contextmanager
def row_locked(cursor: PartitionCursor, *, seconds: float) -> Iterator[None]:
    """Hold the cursor's row locked in another session, at most for `seconds`."""
    locked, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            PartitionCursor.objects.select_for_update().get(pk=cursor.pk)
            locked.set()
            enough.wait(seconds)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert locked.wait(10)
    try:
        yield
    finally:
        enough.set()
        thread.join()


def sessions() -> int:
    with connection.cursor() as sql:
        sql.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return int(sql.fetchone()[0])
