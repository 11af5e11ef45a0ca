"""Replays that meet each other, a slow log, or a PostgreSQL that goes away between the log and the mark."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection, connections
from pytest_django import Settings

from ingestion.letter_claims import LOCK_CLASS, claimed
from ingestion.log.configured import create_topics
from ingestion.log.producer import appender
from ingestion.models import DeadLetter, InboxPartition, PartitionCursor, Project
from ingestion.partitions import ensure_partitions
from ingestion.replay import BATCH_LETTERS, replay
from ingestion.replay_outcome import Replay
from tests.ingestion.sessions import another_session, holding

pytestmark = pytest.mark.django_db(transaction=True)

TOPIC = "llm.telemetry"
# Every append waits for as long as this is held.
SLOW_LOG = "SELECT FROM ingestion_inboxpartition FOR UPDATE"
_offsets = itertools.count()


@pytest.fixture(autouse=True)
def _inbox(settings: Settings, transactional_db: None) -> Iterator[None]:
    settings.SENTINEL_BROKERS = []
    ensure_partitions()
    appender.cache_clear()
    create_topics([TOPIC])
    yield
    appender().close()
    appender.cache_clear()


def add(topic: str = TOPIC, **values: Any) -> int:
    project = Project.objects.get(slug="default")
    cursor, _ = PartitionCursor.objects.get_or_create(
        project=project, cluster_id="c", topic_id=topic, topic=topic, partition=0
    )
    row: dict[str, Any] = {
        "project": project, "cursor": cursor, "log_offset": next(_offsets), "log_time": datetime.now(UTC),
        "stage": "decode", "reason": "missing_field", "size_bytes": 2, "sha256": bytes(32), "payload": "{}",
    }  # fmt: skip
    return DeadLetter.objects.create(**(row | values)).pk


def in_log() -> int:
    return sum(InboxPartition.objects.values_list("end_offset", flat=True))


def statuses() -> list[str]:
    return list(DeadLetter.objects.order_by("pk").values_list("status", flat=True))


def set_session(name: str, milliseconds: int) -> None:
    with connection.cursor() as sql:
        sql.execute(f"SET {name} = {milliseconds}")


class Replaying:
    """A replay in a thread of its own, after `prepare` has set up its session."""

    def __init__(self, *letter_ids: int, prepare: Callable[[], None] = lambda: None) -> None:
        self.pid = 0
        self._letter_ids = letter_ids
        self._prepare = prepare
        self._results: list[Replay] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._prepare()
            with connection.cursor() as sql:
                sql.execute("SELECT pg_backend_pid()")
                (self.pid,) = sql.fetchone()
            self._results.append(replay(self._letter_ids))
        finally:
            connections.close_all()

    def wait_for_claims(self, count: int) -> None:
        deadline = time.monotonic() + 20
        while held_claims() < count:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    @property
    def result(self) -> Replay:
        self._thread.join(30)
        (result,) = self._results
        return result


def held_claims() -> int:
    with connection.cursor() as sql:
        sql.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s", [LOCK_CLASS])
        return int(sql.fetchone()[0])


def test_who_comes_second_skips_what_is_being_replayed_and_does_not_wait() -> None:
    shared, other = add(), add()
    with holding(SLOW_LOG):
        first = Replaying(shared)
        first.wait_for_claims(1)
        second = Replaying(shared, other)
        second.wait_for_claims(2)
    assert str(first.result) == "1 replayed"
    assert str(second.result) == "1 replayed, 1 skipped (1 being replayed)"
    assert (in_log(), statuses()) == (2, ["replayed", "replayed"])


def test_many_replays_of_the_same_letters_append_each_once() -> None:
    letters = [add() for _ in range(30)]
    replays = [Replaying(*letters) for _ in range(4)]
    assert sum(item.result.counts()["replayed"] for item in replays) == 30
    assert (in_log(), set(statuses())) == (30, {"replayed"})


def test_what_somebody_else_replayed_just_before_it_was_claimed_is_not_appended_again() -> None:
    letter = add()

    def other_replay_first(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if "pg_try_advisory_lock" in sql:
            assert str(Replaying(letter).result) == "1 replayed"
        return execute(sql, *rest)

    with connection.execute_wrapper(other_replay_first):
        assert str(replay([letter])) == "0 replayed, 1 skipped (1 replayed before)"
    assert in_log() == 1


def test_nothing_stays_claimed() -> None:
    replay([add(), add("gone"), 0])
    assert held_claims() == 0


def test_whoever_dies_lets_go_of_the_claims() -> None:
    letter = add()
    with another_session(lambda: claimed([letter])):
        assert str(replay([letter])) == "0 replayed, 1 skipped (1 being replayed)"
        with connection.cursor() as sql:
            sql.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s",
                [LOCK_CLASS],
            )
        assert str(replay([letter])) == "1 replayed"


def test_a_log_that_takes_longer_than_sessions_may_idle_in_a_transaction_does_no_harm() -> None:
    letter = add()
    with holding(SLOW_LOG):
        slow = Replaying(letter, prepare=lambda: set_session("idle_in_transaction_session_timeout", 200))
        time.sleep(1)
    assert str(slow.result) == "1 replayed"
    assert (in_log(), statuses()) == (1, ["replayed"])


def test_a_session_that_is_lost_while_the_log_is_written_does_not_cost_the_mark() -> None:
    letter = add()
    with holding(SLOW_LOG):
        slow = Replaying(letter)
        slow.wait_for_claims(1)
        with connection.cursor() as sql:
            sql.execute("SELECT pg_terminate_backend(%s, 5000)", [slow.pid])
    assert str(slow.result) == "1 replayed"
    assert (in_log(), statuses(), held_claims()) == (1, ["replayed"], 0)


def test_what_cannot_be_marked_is_told_as_appended() -> None:
    letter = add()
    set_session("lock_timeout", 100)
    with holding("SELECT FROM ingestion_deadletter FOR UPDATE"):
        result = replay([letter])
    set_session("lock_timeout", 0)
    assert str(result) == "0 replayed, 1 appended but not marked"
    assert result.has_failed
    assert result.others[letter].why == "it is in the log, but PostgreSQL did not take the mark; it stays open"
    assert (in_log(), statuses(), held_claims()) == (1, ["open"], 0)


def test_what_was_appended_before_a_topic_failed_is_marked_and_the_others_are_tried() -> None:
    letters = [add(), add("gone"), add()]
    result = replay(letters)
    assert str(result) == "2 replayed, 1 not confirmed by the log"
    assert list(result.others) == [letters[1]]
    assert statuses() == ["replayed", "open", "replayed"]


def test_a_topic_that_did_not_confirm_a_batch_is_not_asked_again() -> None:
    letters = [add("gone") for _ in range(BATCH_LETTERS + 1)]
    result = replay(letters)
    assert str(result) == f"0 replayed, 1 skipped (1 log unavailable), {BATCH_LETTERS} not confirmed by the log"
    assert result.outcomes[letters[-1]].why == (
        "it was not sent, for the log did not confirm others of its topic before it"
    )


def test_once_postgresql_did_not_take_a_mark_nothing_more_is_sent() -> None:
    create_topics(["other"])
    letters = [add(), add("other")]
    set_session("lock_timeout", 100)
    with holding("SELECT FROM ingestion_deadletter FOR UPDATE"):
        result = replay(letters)
    set_session("lock_timeout", 0)
    assert str(result) == "0 replayed, 1 skipped (1 database unavailable), 1 appended but not marked"
    assert in_log() == 1


def test_what_is_skipped_is_counted_by_reason() -> None:
    letters = [add(payload_cut=True), add(payload=""), add(status="replayed"), add(reason="over_quota")]
    result = replay([0, *letters])
    assert result.counts() == {
        "replayed": 0, "skipped": 5, "unconfirmed": 0, "unmarked": 0,
        "payload_cut": 1, "no_payload": 1, "replayed_before": 1, "counted_only": 1, "unknown": 1,
    }  # fmt: skip
    assert not result.has_failed
    assert result.outcomes[0].why == "there is no such dead letter"
    assert result.outcomes[letters[2]].why.startswith("it was replayed at")
