"""Sending ranges to the workers: a hint through Celery over Redis, which may be lost, doubled or late."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import redis
import structlog
from django.conf import settings
from kombu.exceptions import OperationalError
from kombu.pools import ProducerPool, producers
from redis.backoff import NoBackoff
from redis.retry import Retry

from ingestion import cursor as cursors
from ingestion.cursor import Dispatch
from sentinel.celery import INGEST_RANGE, app

logger = structlog.get_logger(__name__)

GENERATION_SECONDS = 1.0
# Neither the bridge's one thread nor a worker between two ranges may wait longer for Redis.
TIMEOUT_SECONDS = 1.0
UNSENT_RETRY_SECONDS = 1.0
# After a failure the ranges of the other partitions do not each wait for the same Redis.
AWAY_SECONDS = 0.5


class RangeSender:
    """Queues `ingest_range`, or says in the cursor that this attempt will not start, so that the bridge tries again.

    Without that the bridge would wait as for a busy worker, twice as long after every failure.
    """

    def __init__(self) -> None:
        self._away_until = float("-inf")

    def __call__(self, task: Dispatch) -> None:
        """Send the range; never raises because of Redis, and blocks for `TIMEOUT_SECONDS` at most."""
        if time.monotonic() < self._away_until:
            _give_back(task)
            return
        try:
            self._send(task)
        except (OperationalError, redis.RedisError, OSError) as error:
            self._away_until = time.monotonic() + AWAY_SECONDS
            logger.warning("range.unsent", cursor=task.cursor_id, error=type(error).__name__)
            _give_back(task)

    @staticmethod
    def _send(task: Dispatch) -> None:
        with _producers().acquire(block=True) as producer:
            app.send_task(
                INGEST_RANGE,
                args=(task.cursor_id, task.start, task.end, task.attempt),
                queue=settings.SENTINEL_QUEUE_BEHIND if task.is_behind else settings.SENTINEL_QUEUE_INGEST,
                producer=producer,
                retry=False,
            )


def _give_back(task: Dispatch) -> None:
    cursors.end_attempt(task, error="unsent", retry_seconds=UNSENT_RETRY_SECONDS, was_sent=False)


send_range = RangeSender()


@cache
def _producers() -> ProducerPool:
    """Return the connections for sending; they give up at once where Celery's own retry for seconds."""
    options = {"max_retries": 0, "socket_timeout": TIMEOUT_SECONDS, "socket_connect_timeout": TIMEOUT_SECONDS}
    pool: ProducerPool = producers[app.connection_for_write(transport_options=options)]
    return pool


class BrokerGeneration:
    """Tells when Redis was restarted, and with it the queue perhaps emptied; asks at most once a second."""

    def __init__(self) -> None:
        self._client = redis.Redis.from_url(
            settings.REDIS_URL,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            # The client's own default waits seconds between attempts.
            retry=Retry(NoBackoff(), 0),
        )
        self._asked_at = float("-inf")
        self._run_id: str | None = None

    def __call__(self) -> str | None:
        """Return the run id of Redis, None while it cannot be reached."""
        if time.monotonic() - self._asked_at >= GENERATION_SECONDS:
            self._asked_at = time.monotonic()
            try:
                info: Any = self._client.info("server")
                self._run_id = str(info["run_id"])
            except redis.RedisError:
                return None
        return self._run_id
