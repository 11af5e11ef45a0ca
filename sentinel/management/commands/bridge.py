"""`manage.py bridge`: dispatch ranges of the log to the workers until SIGTERM (`ingestion.bridge`)."""

from __future__ import annotations

import signal
import time
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, connection

from ingestion.bridge import Bridge, BridgeLimits
from ingestion.log.configured import open_log
from ingestion.membership import Alone, KafkaMembership, Membership
from sentinel.answer_limit import limit_answers
from sentinel.hints import BrokerGeneration, send_range

logger = structlog.get_logger(__name__)

# Beyond the bridge's statement_timeout, which a server that stands still cannot keep.
ANSWER_SECONDS = 15.0


def membership() -> Membership:
    """Return the seat in the consumer group, or none for the PostgreSQL log."""
    if not settings.SENTINEL_BROKERS:
        return Alone()
    return KafkaMembership(
        settings.SENTINEL_BROKERS,
        group=settings.SENTINEL_CONSUMER_GROUP,
        security=settings.SENTINEL_KAFKA_SECURITY,
        timeout_seconds=settings.SENTINEL_KAFKA_REQUEST_TIMEOUT_SECONDS,
    )


class Command(BaseCommand):
    help = "Watch the log and hand ranges of it to the workers."

    def handle(self, *args: Any, **options: Any) -> None:
        self._stopping = False
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        limit_answers(seconds=ANSWER_SECONDS)
        bridge = Bridge(
            log=open_log(),
            membership=membership(),
            send=send_range,
            broker_generation=BrokerGeneration(),
            limits=BridgeLimits(
                batch_records=settings.SENTINEL_BATCH_RECORDS,
                hard_limit_seconds=settings.SENTINEL_TASK_TIME_LIMIT_SECONDS + 5,
            ),
        )
        logger.info("bridge.started")
        while not self._stopping:
            self._step(bridge)
        bridge.close()
        logger.info("bridge.stopped")

    def _step(self, bridge: Bridge) -> None:
        try:
            bridge.step()
        except (DatabaseError, InterfaceError) as error:
            # Postgres is away: the cursors are the only truth, so wait for them.
            logger.warning("bridge.database_unavailable", error=type(error).__name__)
            connection.close()
            time.sleep(1)

    def _stop(self, *_: Any) -> None:
        self._stopping = True
