"""Sending ranges to the workers: a hint through Celery over Redis, which may be lost, doubled or late."""

from __future__ import annotations

import time
from typing import Any

import redis
import structlog
from django.conf import settings
from kombu.exceptions import OperationalError

from ingestion.cursor import Dispatch
from sentinel.celery import app

logger = structlog.get_logger(__name__)

GENERATION_SECONDS = 1.0


def send_range(task: Dispatch) -> None:
    """Queue `ingest_range`; what cannot be sent is dispatched again by the bridge's timer."""
    try:
        app.send_task(
            "sentinel.ingest_range",
            args=(task.cursor_id, task.start, task.end, task.attempt),
            queue=settings.SENTINEL_QUEUE_INGEST,
            # A task that waited longer than any re-dispatch timer has been replaced.
            expires=300,
            retry=False,
        )
    except (OperationalError, redis.RedisError, OSError) as error:
        logger.warning("bridge.send_failed", cursor=task.cursor_id, error=type(error).__name__)


class BrokerGeneration:
    """Tells when Redis was restarted, and with it the queue perhaps emptied; asks at most once a second."""

    def __init__(self) -> None:
        self._client = redis.Redis.from_url(
            settings.REDIS_URL,
            socket_timeout=settings.REDIS_SOCKET_TIMEOUT_SECONDS,
            socket_connect_timeout=settings.REDIS_SOCKET_TIMEOUT_SECONDS,
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
