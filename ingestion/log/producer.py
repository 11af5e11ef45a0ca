"""Appending to the configured log, for the HTTP API and the replay of dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from django.conf import settings

from ingestion.log.base import Appender, LogUnavailable, NewRecord
from ingestion.log.kafka import KafkaAppender
from ingestion.log.postgres import PostgresAppender


@cache
def appender() -> Appender:
    """Return the appender that all threads of this process share."""
    if settings.SENTINEL_BROKERS:
        return KafkaAppender(
            settings.SENTINEL_BROKERS,
            security=settings.SENTINEL_KAFKA_SECURITY,
            request_timeout_seconds=settings.SENTINEL_KAFKA_REQUEST_TIMEOUT_SECONDS,
        )
    return PostgresAppender()


def append(topic: str, records: Sequence[NewRecord], *, timeout_seconds: float) -> None:
    """Append to the configured log; raises `LogUnavailable` (see `Appender.append`)."""
    appender().append(topic, records, timeout_seconds=timeout_seconds)


__all__ = ["LogUnavailable", "NewRecord", "append", "appender"]
