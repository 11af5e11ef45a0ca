"""Celery's consumer of tasks, impatient: a Redis that was restarted is asked again every second."""

from __future__ import annotations

from functools import partial
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer

RECONNECT_SECONDS = 1.0


class Consumer(CeleryConsumer):
    """Named by the setting `worker_consumer`.

    Celery waits two seconds more after every failed attempt, up to thirty: a partition would stand still for that long
    after Redis is back. No setting changes it.
    """

    def ensure_connected(self, conn: Any) -> Any:
        conn.ensure_connection = partial(
            conn.ensure_connection,
            interval_start=RECONNECT_SECONDS,
            interval_step=0,
            interval_max=RECONNECT_SECONDS,
        )
        return super().ensure_connected(conn)
