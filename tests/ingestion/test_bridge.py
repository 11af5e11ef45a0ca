"""The bridge on a real log and real cursors, without workers: the tests play them."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import NoReturn

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now

from ingestion import cursor as cursors
from ingestion.bridge import Bridge, BridgeLimits
from ingestion.cursor import Dispatch
from ingestion.cursor_lock import LOCK_CLASS
from ingestion.dispatch import DEATH_REPORT_SECONDS
from ingestion.log.base import Log, LogUnavailable, NewRecord, PartitionId
from ingestion.log.postgres import PostgresLog, append_now, create_topics
from ingestion.membership import Alone
from ingestion.models import (
    Batch,
    DeadLetter,
    Gap,
    GapReason,
    HaltReason,
    InboxPartition,
    PartitionCursor,
    Project,
    Topic,
)
from ingestion.partitions import ensure_partitions
from ingestion.reject import SetAsideReason

BATCH = 100


class Bench:
    """A bridge, partition 0 of a topic of its own, and what was sent for it."""

    def __init__(self, *, beyond_end_seconds: float = 60.0) -> None:
        ensure_partitions()
        self.topic = f"bridge-{uuid.uuid4()}"
        project = Project.objects.create(slug=self.topic, name=self.topic)
        Topic.objects.create(name=self.topic, project=project)
        create_topics([self.topic])
        self.sent: list[Dispatch] = []
        self.bridge = self.new_bridge(beyond_end_seconds=beyond_end_seconds)

    def new_bridge(
        self,
        *,
        log: Log | None = None,
        beyond_end_seconds: float = 60.0,
        discovery_seconds: float = 0.0,
        transaction_open_seconds: float = 90.0,
    ) -> Bridge:
        return Bridge(
            log=log or PostgresLog(),
            membership=Alone(),
            send=self.sent.append,
            broker_generation=lambda: "the same",
            limits=BridgeLimits(
                batch_records=BATCH,
                hard_limit_seconds=60,
                discovery_seconds=discovery_seconds,
                beyond_end_seconds=beyond_end_seconds,
                transaction_open_seconds=transaction_open_seconds,
            ),
        )

    def append(self, count: int) -> None:
        append_now(self.topic, [NewRecord(None, b"{}") for _ in range(count)])

    def step(self) -> Dispatch | None:
        """Let the bridge serve everything once; return what it sent for the partition."""
        self.sent.clear()
        self.bridge.step()
        return next((task for task in self.sent if task.cursor_id == self.cursor.pk), None)

    def next(self) -> Dispatch:
        task = self.step()
        assert task is not None
        return task

    @property
    def cursor(self) -> PartitionCursor:
        return PartitionCursor.objects.filter(topic=self.topic, partition=0).latest("pk")

    @property
    def inbox(self) -> InboxPartition:
        return InboxPartition.objects.get(topic=self.topic, partition=0)

    def begin_at(self, offset: int) -> None:
        InboxPartition.objects.filter(pk=self.inbox.pk).update(begin_offset=offset)

    def recreate(self) -> None:
        """Do what deleting and creating the topic does."""
        with connection.cursor() as sql:
            sql.execute("DELETE FROM inbox WHERE inbox_partition_id = %s", [self.inbox.pk])
        InboxPartition.objects.filter(topic=self.topic).update(topic_id=uuid.uuid4(), begin_offset=0, end_offset=0)

    def die(self, task: Dispatch, death_signal: int | None, *, build: str = "b1") -> None:
        """Play a worker that starts the range and is gone; its session lock went with it a second ago."""
        assert cursors.start_attempt(task, build=build) is not None
        PartitionCursor.objects.filter(pk=task.cursor_id).update(
            started_at=F("started_at") - timedelta(seconds=1), death_signal=death_signal
        )

    def commit(self, task: Dispatch, *, build: str = "b1", killed: bool = False) -> Dispatch | None:
        """Play a worker that commits the range and knows of no more; return what it hands over of a suspected one.

        The one record of the range becomes a dead letter where it has `killed`.
        """
        assert cursors.start_attempt(task, build=build) is not None
        cursor = self.cursor
        Batch.objects.create(
            cursor=cursor,
            attempt=task.attempt,
            start_offset=task.start,
            end_offset=task.end,
            stored=0 if killed else task.end - task.start,
            rejected=1 if killed else 0,
            worker_build=build,
        )
        if killed:
            DeadLetter.objects.create(
                project_id=cursor.project_id,
                cursor=cursor,
                log_offset=task.start,
                log_time=Now(),
                reason=SetAsideReason.KILLED_WORKER,
                size_bytes=2,
            )
        return cursors.advance(
            task,
            next_offset=task.end,
            end_offset=task.end,
            batch_records=BATCH,
            stage_batches=0,
            watermark=None,
            suspect_end=cursor.suspect_end,
            strikes=cursor.strikes,
        )

    def play_poison(self, offset: int, *, death_signal: int = signal.SIGKILL) -> int:
        """Play workers that die on one record until the bridge stops sending or condemns it; return the deaths."""
        deaths = 0
        task = self.step()
        while task is not None and self.cursor.condemned_offset is None:
            if task.start <= offset < task.end:
                deaths += 1
                self.die(task, death_signal)
                task = self.step()
            else:
                task = self.commit(task) or self.step()
            assert deaths < 25, "the poison was not found"
        return deaths


@pytest.fixture
def bench(transactional_db: None) -> Iterator[Bench]:
    found = Bench()
    yield found
    found.bridge.close()


def test_a_record_that_kills_is_condemned_alone_with_the_ranges_before_it_committed(bench: Bench) -> None:
    bench.append(90)
    assert bench.play_poison(71) <= 12
    cursor = bench.cursor
    assert (cursor.next_offset, cursor.condemned_offset, cursor.dispatched_end) == (71, 71, 72)


def test_a_build_that_has_ingested_nothing_since_halts_instead_of_setting_aside(bench: Bench) -> None:
    bench.append(90)
    bench.play_poison(0)
    cursor = bench.cursor
    assert cursor.condemned_offset is None
    assert cursor.halted_because == HaltReason.POISONED_BUILD
    assert cursor.halted_at is not None


def play_an_innocent_death(bench: Bench) -> None:
    """Let a worker be killed on a range that commits afterwards."""
    bench.append(10)
    bench.die(bench.next(), signal.SIGKILL)
    bench.commit(bench.next())


def play_until_alone(bench: Bench) -> Dispatch:
    """Append two records, the second of which kills, and return the range that holds it alone: its build is proven."""
    bench.append(2)
    for _ in range(2):
        bench.die(bench.next(), signal.SIGKILL)
    alone = bench.commit(bench.next())
    assert alone is not None
    return alone


def test_a_condemnation_ends_with_its_build(bench: Bench) -> None:
    alone = play_until_alone(bench)
    for _ in range(3):
        bench.die(alone, signal.SIGSEGV)
        alone = bench.next()
    condemned = bench.cursor
    assert condemned.condemned_offset == alone.start
    bench.die(alone, signal.SIGSEGV, build="b2")
    again = bench.next()
    assert (again.start, again.end) == (alone.start, alone.end)
    tried_anew = bench.cursor
    assert (tried_anew.condemned_offset, tried_anew.lone_strikes) == (None, 1)


def test_where_innocent_records_die_too_being_killed_sets_no_record_aside(bench: Bench) -> None:
    play_an_innocent_death(bench)
    bench.append(90)
    assert bench.play_poison(71) > 12
    cursor = bench.cursor
    assert cursor.condemned_offset is None
    assert (cursor.next_offset, cursor.halted_because) == (71, HaltReason.UNEXPLAINED_DEATHS)


@pytest.mark.parametrize("order", [(9, 9, 11, 11), (11, 9, 11, 9)])
def test_where_innocent_records_die_too_being_killed_counts_towards_no_crash(
    bench: Bench, order: tuple[int, ...]
) -> None:
    play_an_innocent_death(bench)
    alone = play_until_alone(bench)
    for number in order:
        bench.die(alone, number)
        alone = bench.next()
        assert bench.cursor.condemned_offset is None
    bench.die(alone, signal.SIGSEGV)
    bench.next()
    assert bench.cursor.condemned_offset == alone.start


def let_the_report_be_overdue(bench: Bench) -> None:
    assert bench.step() is None  # sees the lock free, and waits
    time.sleep(DEATH_REPORT_SECONDS)


def test_a_death_that_nobody_saw_condemns_no_record_that_was_killed_three_times_before(bench: Bench) -> None:
    play_an_innocent_death(bench)
    left_alone = play_until_alone(bench)
    for _ in range(3):
        bench.die(left_alone, signal.SIGKILL)
        left_alone = bench.next()
    bench.die(left_alone, None)
    assert bench.cursor.lone_strikes == 3
    let_the_report_be_overdue(bench)
    again = bench.next()
    assert (again.start, again.end) == (left_alone.start, left_alone.end)
    assert (bench.cursor.condemned_offset, bench.cursor.lone_deaths) == (None, 1)


def test_where_innocent_records_die_too_a_crash_of_its_own_still_sets_a_record_aside(bench: Bench) -> None:
    play_an_innocent_death(bench)
    bench.append(90)
    bench.play_poison(71, death_signal=signal.SIGSEGV)
    assert bench.cursor.condemned_offset == 71


def let_a_sibling_store(bench: Bench, *, build: str) -> None:
    """Prove the build: another partition stores an event."""
    sibling = PartitionCursor.objects.get(topic=bench.topic, partition=1)
    start = sibling.batches.count()
    Batch.objects.create(
        cursor=sibling, attempt=1, start_offset=start, end_offset=start + 1, stored=1, worker_build=build
    )
    PartitionCursor.objects.filter(pk=sibling.pk).update(progressed_at=Now())


def set_aside(bench: Bench, count: int, *, build: str = "b1") -> Dispatch | None:
    """Play so many records in a row that kill their worker and become dead letters, while the build is proven elsewhere.

    Return what is sent after them.
    """
    task = bench.step()
    for _ in range(count):
        while task is not None and bench.cursor.condemned_offset is None:
            bench.die(task, signal.SIGSEGV, build=build)
            let_a_sibling_store(bench, build=build)
            task = bench.step()
        if task is None:
            return None
        task = bench.commit(task, build=build, killed=True) or bench.step()
    return task


def test_three_records_in_a_row_that_kill_are_the_last_to_be_set_aside(bench: Bench) -> None:
    """A build that crashes on one tenant alone is proven by all the others."""
    bench.append(5)
    assert set_aside(bench, 4) is None
    cursor = bench.cursor
    assert (cursor.next_offset, cursor.condemned_offset) == (3, None)
    assert cursor.halted_because == HaltReason.POISONED_BUILD
    assert "3 records in a row" in cursor.halted_reason


def test_an_event_between_them_lets_more_records_be_set_aside(bench: Bench) -> None:
    bench.append(4)
    task = set_aside(bench, 3)
    assert task is not None
    bench.commit(task)
    bench.append(2)
    assert set_aside(bench, 1) is not None
    assert bench.cursor.halted_because == ""


def test_what_another_build_set_aside_does_not_count_against_this_one(bench: Bench) -> None:
    bench.append(5)
    task = set_aside(bench, 3)
    assert task is not None
    bench.die(task, signal.SIGSEGV, build="b2")
    assert set_aside(bench, 1, build="b2") is not None
    assert bench.cursor.halted_because == ""


def test_a_death_that_no_record_causes_leaves_no_strike(bench: Bench) -> None:
    bench.append(10)
    bench.die(bench.next(), signal.SIGTERM)
    again = bench.next()
    assert (again.start, again.end) == (0, 10)
    assert (bench.cursor.strikes, bench.cursor.suspect_end) == (0, None)


def test_a_killed_worker_whose_range_commits_next_time_leaves_no_suspicion(bench: Bench) -> None:
    bench.append(10)
    bench.die(bench.next(), signal.SIGKILL)
    bench.commit(bench.next())
    cursor = bench.cursor
    assert (cursor.strikes, cursor.suspect_end, cursor.suspected_at) == (0, None, None)


def test_a_death_is_not_acted_on_before_its_report_is_due(bench: Bench) -> None:
    bench.append(10)
    bench.die(bench.next(), None)
    assert bench.step() is None


def test_retention_that_passed_the_cursor_leaves_a_gap_with_the_exact_range(bench: Bench) -> None:
    bench.append(10)
    bench.commit(bench.next())
    bench.append(50)
    bench.begin_at(42)
    assert bench.step() is None
    gap = Gap.objects.get(cursor=bench.cursor)
    assert (gap.start_offset, gap.end_offset, gap.reason) == (10, 42, GapReason.RETENTION)
    task = bench.next()
    assert (task.start, task.end) == (42, 60)


def test_an_attempt_from_before_the_gap_can_no_longer_start(bench: Bench) -> None:
    bench.append(50)
    slow = bench.next()
    bench.begin_at(42)
    cursors.end_attempt(slow, error="offset_out_of_range", retry_seconds=0)
    bench.step()
    assert Gap.objects.filter(cursor=bench.cursor).count() == 1
    assert cursors.start_attempt(slow) is None


def test_two_bridges_record_a_gap_once(bench: Bench) -> None:
    bench.step()
    other = bench.new_bridge()
    bench.append(50)
    bench.begin_at(42)
    bench.step()
    other.step()
    assert Gap.objects.filter(cursor=bench.cursor).count() == 1


def test_a_cursor_beyond_the_end_for_long_halts(transactional_db: None) -> None:
    bench = Bench(beyond_end_seconds=0)
    bench.append(10)
    bench.commit(bench.next())
    InboxPartition.objects.filter(pk=bench.inbox.pk).update(end_offset=4)
    bench.step()
    assert bench.cursor.halted_because == HaltReason.BEYOND_END
    assert "ends at 4" in bench.cursor.halted_reason


def test_a_cursor_beyond_the_end_for_a_moment_goes_on(bench: Bench) -> None:
    bench.append(10)
    bench.commit(bench.next())
    InboxPartition.objects.filter(pk=bench.inbox.pk).update(end_offset=4)
    assert bench.step() is None
    InboxPartition.objects.filter(pk=bench.inbox.pk).update(end_offset=10)
    bench.append(5)
    assert bench.next().start == 10


def test_a_recreated_topic_closes_the_old_cursor_with_a_gap_and_is_read_from_its_beginning(bench: Bench) -> None:
    bench.append(10)
    bench.commit(bench.next())
    bench.append(15)
    bench.step()
    old = bench.cursor
    bench.recreate()
    bench.append(3)
    task = bench.next()
    assert (task.start, task.end) == (0, 3)
    assert bench.cursor.pk != old.pk
    old.refresh_from_db()
    assert old.closed_at is not None
    gap = Gap.objects.get(cursor=old)
    assert (gap.start_offset, gap.end_offset, gap.reason) == (10, 25, GapReason.TOPIC_RECREATED)


def test_another_cluster_halts_the_cursors_and_nothing_of_it_is_read(bench: Bench) -> None:
    bench.append(10)
    bench.step()
    PartitionCursor.objects.filter(topic=bench.topic).update(cluster_id="A")
    log = ClusterB()
    bridge = Bridge(
        log=log,
        membership=Alone(),
        send=bench.sent.append,
        broker_generation=lambda: None,
        limits=BridgeLimits(batch_records=BATCH, hard_limit_seconds=60, discovery_seconds=0),
    )
    bridge.step()
    assert bench.cursor.halted_because == HaltReason.OTHER_CLUSTER
    assert PartitionCursor.objects.filter(topic=bench.topic, cluster_id="B").count() == 0


class ClusterB(PostgresLog):
    """The same log, as another cluster would present it."""

    def partitions(self, topics: Collection[str]) -> Sequence[PartitionId]:
        return [replace(item, cluster_id="B") for item in super().partitions(topics)]


def test_new_partitions_are_read_from_their_beginning(bench: Bench) -> None:
    bench.step()
    topic_id = bench.inbox.topic_id
    InboxPartition.objects.create(topic=bench.topic, partition=8, topic_id=topic_id, end_offset=0)
    bench.step()
    assert PartitionCursor.objects.get(topic=bench.topic, partition=8).next_offset == 0


def test_the_end_of_the_log_is_kept_for_people_who_look(bench: Bench) -> None:
    bench.append(10)
    task = bench.next()
    assert cursors.start_attempt(task, build="b1") is not None
    PartitionCursor.objects.filter(pk=task.cursor_id).update(started_at=F("started_at") - timedelta(minutes=1))
    bench.append(20)
    bridge = bench.new_bridge()
    bridge.step()
    bridge.step()
    assert bench.cursor.log_end == 30
    assert bench.cursor.log_end_at is not None


def test_the_end_is_kept_although_the_last_step_before_had_no_need_of_it(bench: Bench) -> None:
    bench.append(10)
    bench.next()
    bench.append(20)
    bridge = bench.new_bridge(discovery_seconds=0.2)
    bridge.step()
    bridge.step()
    assert bench.cursor.log_end == 10
    time.sleep(0.2)
    bridge.step()
    assert bench.cursor.log_end == 30


def test_a_range_whose_session_was_ended_is_sent_again_in_the_same_step(bench: Bench) -> None:
    bench.append(10)
    task = bench.next()
    assert cursors.start_attempt(task, build="b1") is not None
    with closing(connection.copy()) as lost, lost.cursor() as sql:
        sql.execute("SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()")
        pid, start = sql.fetchone()
        PartitionCursor.objects.filter(pk=task.cursor_id).update(
            backend_pid=pid, backend_start=start, started_at=F("started_at") - timedelta(minutes=2)
        )
        sql.execute("SELECT pg_advisory_lock(%s, %s)", [LOCK_CLASS, task.cursor_id])
        sql.execute("BEGIN; SELECT FROM ingestion_partitioncursor WHERE id = %s FOR UPDATE", [task.cursor_id])
        # It takes a moment to end, and holds its locks until then.
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(0.3, os.kill, [pid, signal.SIGCONT]).start()
        again = bench.next()
    assert again.attempt == task.attempt + 1
    assert bench.cursor.strikes == 0


def test_only_tasks_that_vanish_one_after_another_make_the_bridge_more_patient(bench: Bench) -> None:
    bench.append(10)
    for _ in range(3):
        cursors.end_attempt(bench.next(), error="failed", retry_seconds=0)
    assert bench.cursor.unstarted == 1
    lost = bench.next()
    PartitionCursor.objects.filter(pk=lost.cursor_id).update(dispatched_at=F("dispatched_at") - timedelta(seconds=5))
    assert bench.next().attempt == lost.attempt + 1
    assert bench.cursor.unstarted == 2


def test_a_partition_that_is_behind_lets_the_others_go_first_but_not_for_ever(bench: Bench) -> None:
    bench.append(BATCH)
    assert not bench.next().is_behind
    bench.append(1)
    cursors.end_attempt(cursors.current_attempt(bench.cursor), error="failed", retry_seconds=0)
    waiting = bench.next()
    assert waiting.is_behind
    PartitionCursor.objects.filter(pk=waiting.cursor_id).update(dispatched_at=F("dispatched_at") - timedelta(seconds=5))
    assert not bench.next().is_behind


@pytest.mark.parametrize("more", [BATCH, BATCH + 1])
def test_what_a_worker_hands_over_is_behind_if_the_log_has_more_than_that(bench: Bench, more: int) -> None:
    bench.append(1)
    task = bench.next()
    assert cursors.start_attempt(task, build="b1") is not None
    handed_over = cursors.advance(
        task, next_offset=1, end_offset=1 + more, batch_records=BATCH, stage_batches=0, watermark=None
    )
    assert handed_over == Dispatch(task.cursor_id, 1, 1 + BATCH, task.attempt + 1, is_behind=more > BATCH)


def test_an_end_that_could_not_be_read_is_not_kept_as_if_it_had_been(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.append(10)
    bench.step()
    bench.step()
    before = bench.cursor.log_end_at

    def refuse(*_: object) -> NoReturn:
        raise LogUnavailable("no answer")

    monkeypatch.setattr(PostgresLog, "end_offsets", refuse)
    bench.step()
    bench.step()
    kept = bench.cursor.log_end_at
    bench.step()
    assert before is not None
    assert bench.cursor.log_end_at == kept


def test_the_bridge_keeps_off_rows_that_a_worker_is_about_to_lock(bench: Bench) -> None:
    bench.append(10)
    assert cursors.start_attempt(bench.next(), build="b1") is not None
    cursors.remember_ends({bench.cursor.pk: 15})
    assert bench.cursor.log_end == 10


class HidingLog(PostgresLog):
    """A log in which `hidden` more records were written to every partition than can be read."""

    hidden = 0

    def written_offsets(self, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return {key: end + self.hidden for key, end in self.end_offsets(partitions).items()}


class Hiding:
    """Bridges on a partition that an open transaction holds up; each looks at once, and forgets what others saw."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.log = HidingLog()
        bench.append(10)
        bench.commit(bench.next())

    def look(self, *, open_seconds: float = 90.0) -> tuple[bool, int | None, int | None]:
        """Let a new bridge look; return whether the cursor is held up, at which offset, and up to which."""
        self.bench.new_bridge(log=self.log, transaction_open_seconds=open_seconds).step()
        cursor = self.bench.cursor
        return cursor.held_up_since is not None, cursor.held_up_offset, cursor.held_up_end


@pytest.fixture
def hiding(bench: Bench) -> Hiding:
    return Hiding(bench)


def test_a_transaction_that_stays_open_is_kept_on_the_cursor_for_people_who_look(hiding: Hiding) -> None:
    hiding.log.hidden = 3
    assert hiding.look() == (False, None, None)
    assert hiding.look(open_seconds=0) == (True, 10, 13)


def test_a_bridge_that_has_just_started_keeps_since_when_a_partition_is_held_up(hiding: Hiding) -> None:
    hiding.log.hidden = 3
    hiding.look(open_seconds=0)
    since = hiding.bench.cursor.held_up_since
    hiding.log.hidden = 5
    assert hiding.look() == (True, 10, 13)
    assert hiding.look(open_seconds=0) == (True, 10, 15)
    assert hiding.bench.cursor.held_up_since == since


@pytest.mark.parametrize("hidden", [0, 2])
def test_a_transaction_that_ends_clears_itself_even_if_another_begins(hiding: Hiding, hidden: int) -> None:
    hiding.log.hidden = 3
    hiding.look(open_seconds=0)
    hiding.bench.append(4)
    hiding.log.hidden = hidden
    assert hiding.look() == (False, None, None)


def test_the_next_transaction_is_counted_from_its_own_beginning(hiding: Hiding) -> None:
    hiding.log.hidden = 3
    hiding.look(open_seconds=0)
    first = hiding.bench.cursor.held_up_since
    hiding.bench.append(4)
    assert hiding.look(open_seconds=0) == (True, 14, 17)
    second = hiding.bench.cursor.held_up_since
    assert first is not None
    assert second is not None
    assert second > first


def test_a_row_that_a_worker_holds_does_not_hold_the_bridge_up(hiding: Hiding) -> None:
    hiding.log.hidden = 3
    with closing(connection.copy()) as worker, worker.cursor() as sql:
        sql.execute("BEGIN; SELECT FROM ingestion_partitioncursor WHERE id = %s FOR UPDATE", [hiding.bench.cursor.pk])
        assert hiding.look(open_seconds=0) == (False, None, None)
    assert hiding.look(open_seconds=0) == (True, 10, 13)
