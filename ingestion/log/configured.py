"""The log that the settings name: Kafka where brokers are configured, else PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection

from django.conf import settings

from ingestion.log.base import Log
from ingestion.log.kafka import KafkaLog
from ingestion.log.postgres import PostgresLog
from ingestion.log.postgres import create_topics as create_inbox_topics


def open_log() -> Log:
    """Return a new log for the calling process and thread."""
    return _kafka_log() if settings.SENTINEL_BROKERS else PostgresLog()


def _kafka_log() -> KafkaLog:
    return KafkaLog(
        settings.SENTINEL_BROKERS,
        security=settings.SENTINEL_KAFKA_SECURITY,
        request_timeout_seconds=settings.SENTINEL_KAFKA_REQUEST_TIMEOUT_SECONDS,
    )


def create_topics(topics: Collection[str]) -> None:
    """Create those topics that the log lacks."""
    if not settings.SENTINEL_BROKERS:
        create_inbox_topics(topics)
        return
    log = _kafka_log()
    try:
        log.create_topics(topics, partitions=settings.SENTINEL_TOPIC_PARTITIONS)
    finally:
        log.close()
