"""Sending to a Redis that is away: nobody waits, and the range is tried again soon."""

from __future__ import annotations

import time

import pytest
import redis
from django.conf import settings

from ingestion import cursor as cursors
from ingestion.cursor import Dispatch
from ingestion.models import PartitionCursor, Project
from sentinel.hints import AWAY_SECONDS, TIMEOUT_SECONDS, UNSENT_RETRY_SECONDS, BrokerGeneration, RangeSender
from tests.services import RedisServer

SOON_SECONDS = 1.5


@pytest.fixture
def task(transactional_db: None) -> Dispatch:
    cursor = PartitionCursor.objects.create(
        project=Project.objects.create(slug="hints", name="hints"),
        cluster_id="cluster",
        topic_id="topic",
        topic="hints",
        partition=0,
    )
    dispatched = cursors.dispatch(cursor, end=10)
    assert dispatched is not None
    return dispatched


@pytest.fixture
def send_range() -> RangeSender:
    return RangeSender()


def seconds_to_send(send_range: RangeSender, task: Dispatch) -> float:
    started_at = time.monotonic()
    send_range(task)
    return time.monotonic() - started_at


def test_sending_to_a_dead_redis_does_not_wait(
    send_range: RangeSender, task: Dispatch, redis_server: RedisServer
) -> None:
    send_range(task)
    redis_server.kill()
    assert [seconds_to_send(send_range, task) < SOON_SECONDS for _ in range(3)] == [True] * 3


def test_a_hung_redis_holds_up_the_first_of_many_ranges_only(
    send_range: RangeSender, task: Dispatch, redis_server: RedisServer
) -> None:
    send_range(task)
    redis_server.suspend()
    try:
        first, *others = [seconds_to_send(send_range, task) for _ in range(8)]
    finally:
        redis_server.resume()
    assert first > TIMEOUT_SECONDS / 2
    assert sum(others) < SOON_SECONDS


def test_an_unsent_range_is_dispatched_again_in_a_second(
    send_range: RangeSender, task: Dispatch, redis_server: RedisServer
) -> None:
    redis_server.kill()
    send_range(task)
    cursor = PartitionCursor.objects.get(pk=task.cursor_id)
    assert cursor.ended_attempt == task.attempt
    assert cursor.retry_at is not None
    assert cursor.dispatched_at is not None
    assert (cursor.retry_at - cursor.dispatched_at).total_seconds() < UNSENT_RETRY_SECONDS + SOON_SECONDS


def test_what_was_never_sent_does_not_make_the_bridge_wait_longer_for_a_worker(
    send_range: RangeSender, task: Dispatch, redis_server: RedisServer
) -> None:
    redis_server.kill()
    send_range(task)
    for _ in range(3):
        again = cursors.dispatch(PartitionCursor.objects.get(pk=task.cursor_id), end=10)
        assert again is not None
        send_range(again)
    assert PartitionCursor.objects.get(pk=task.cursor_id).dispatches == 0


def test_an_attempt_that_was_given_up_never_starts(
    send_range: RangeSender, task: Dispatch, redis_server: RedisServer
) -> None:
    redis_server.kill()
    send_range(task)
    assert cursors.start_attempt(task) is None


def test_a_range_is_sent_again_once_redis_is_back(
    send_range: RangeSender, task: Dispatch, redis_server: RedisServer
) -> None:
    send_range(task)
    redis_server.kill()
    send_range(task)
    redis_server.restart()
    time.sleep(AWAY_SECONDS)
    cursor = PartitionCursor.objects.get(pk=task.cursor_id)
    again = cursors.dispatch(cursor, end=10)
    assert again is not None
    send_range(again)
    cursor.refresh_from_db()
    assert cursor.ended_attempt < again.attempt


@pytest.mark.parametrize("is_behind", [False, True])
def test_what_is_behind_waits_in_a_queue_of_its_own(
    send_range: RangeSender, redis_server: RedisServer, is_behind: bool
) -> None:
    send_range(Dispatch(1, 0, 10, 1, is_behind=is_behind))
    queues = (settings.SENTINEL_QUEUE_INGEST, settings.SENTINEL_QUEUE_BEHIND)
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        lengths = [client.llen(f"sentinel:{settings.SENTINEL_INSTALLATION}:{queue}") for queue in queues]
        client.delete(*(f"sentinel:{settings.SENTINEL_INSTALLATION}:{queue}" for queue in queues))
    assert lengths == [not is_behind, is_behind]


def test_the_generation_changes_with_a_restart_and_is_unknown_meanwhile(redis_server: RedisServer) -> None:
    generation = BrokerGeneration()
    before = generation()
    redis_server.kill()
    time.sleep(1.1)
    asked_at = time.monotonic()
    assert generation() is None
    assert time.monotonic() - asked_at < SOON_SECONDS
    redis_server.restart()
    time.sleep(1.1)
    assert generation() not in {None, before}
