"""Celery's consumer of tasks, impatient with Redis and calm about what it brings."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import redis
import structlog
from celery.utils.log import get_logger
from celery.worker.consumer import Consumer as CeleryConsumer

from ingestion.condition import Runbook

logger = structlog.get_logger(__name__)
celery_logger = get_logger(__name__)

RECONNECT_SECONDS = 1.0


class Consumer(CeleryConsumer):
    """Named by the setting `worker_consumer`."""

    connection_errors: tuple[type[Exception], ...]  # not in the stubs

    def ensure_connected(self, conn: Any) -> Any:
        """Ask a Redis that was restarted again every second.

        Celery waits two seconds more after every failed attempt, up to thirty: a partition would stand still for that
        long after Redis is back. No setting changes it.
        """
        conn.ensure_connection = partial(
            conn.ensure_connection,
            interval_start=RECONNECT_SECONDS,
            interval_step=0,
            interval_max=RECONNECT_SECONDS,
        )
        return super().ensure_connected(conn)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Pause where Redis answers but refuses, such as a full one: Celery would connect again several times a second."""
        super().on_connection_error_after_connected(exc)
        if isinstance(exc, redis.ResponseError):
            time.sleep(RECONNECT_SECONDS)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        """Drop a message that Celery cannot take apart: the bridge dispatches its range again.

        The worker would end otherwise, put the message back, and meet it again as soon as it is restarted.
        """
        receive = super().create_task_handler(*args, **kwargs)

        def receive_or_drop(message: Any) -> None:
            try:
                receive(message)
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                logger.error("message.dropped", error=type(error).__name__, runbook=Runbook.PARTITION_STALLED.path)
                message.reject_log_error(celery_logger, self.connection_errors)

        return receive_or_drop
