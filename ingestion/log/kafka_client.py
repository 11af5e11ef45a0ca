"""Clients of kafka-python that are back soon after an outage, and that leave nothing behind when they cannot be made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import structlog
from kafka.errors import KafkaError
from kafka.net.compat import KafkaNetClient

from ingestion.log.kafka_records import accept_any_header_name

logger = structlog.get_logger(__name__)

C = TypeVar("C")

# By default kafka-python waits for up to 30 s between two attempts: a broker that is back would not be used for as long.
RECONNECT_MAX_MS = 1_000
# An attempt that nobody answers (a blackhole, a frozen broker) is given up after this.
CONNECT_SECONDS = 5.0
# New partitions, recreated topics and moved brokers are seen after this.
METADATA_MAX_AGE_MS = 5_000


def client_options(
    brokers: Sequence[str], *, security: Mapping[str, Any], request_timeout_seconds: float
) -> dict[str, Any]:
    """Return what every client of kafka-python is made with."""
    connect_seconds = min(request_timeout_seconds, CONNECT_SECONDS)
    return {
        "bootstrap_servers": list(brokers),
        "request_timeout_ms": int(request_timeout_seconds * 1000),
        "bootstrap_timeout_ms": int(connect_seconds * 1000),
        "reconnect_backoff_max_ms": RECONNECT_MAX_MS,
        "metadata_max_age_ms": METADATA_MAX_AGE_MS,
        **{name: value for name, value in security.items() if value is not None},
    }


def make_client(kind: Callable[..., C], **options: Any) -> C:
    """Return a new consumer, producer or admin client; raises `KafkaError` where no broker answers.

    kafka-python starts its thread before it looks for a broker, and does not stop it when none is there: in an outage
    every attempt would leave a thread and its sockets.
    """
    accept_any_header_name()
    connect_ms = int(CONNECT_SECONDS * 1000)
    made: list[KafkaNetClient] = []

    def network(**configs: Any) -> KafkaNetClient:
        made.append(
            KafkaNetClient(
                **configs,
                socket_connection_setup_timeout_ms=connect_ms,
                socket_connection_setup_timeout_max_ms=connect_ms,
            )
        )
        return made[-1]

    try:
        return kind(kafka_client=network, **options)
    except BaseException:
        for client in made:
            client.close()
        raise


def close_quietly(client: Any, **how: Any) -> None:
    """Close a client that may have lost its broker."""
    try:
        client.close(**how)
    except (KafkaError, RuntimeError) as error:
        logger.info("kafka.close_failed", client=type(client).__name__, error=type(error).__name__)
