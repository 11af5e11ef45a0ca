"""The log on Kafka, by kafka-python.

Reads are `assign` + `seek` + `poll`: pausing the other partitions instead costs 100 ms a read. Progress is the
consumer's position, never "until the last offset was seen": a range may end in a transaction marker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError, TopicAlreadyExistsError

from ingestion.log.base import Chunk, LogUnavailable, NewRecord, OffsetOutOfRange, PartitionId, Record

logger = structlog.get_logger(__name__)

# New partitions and recreated topics are seen after this.
METADATA_MAX_AGE_MS = 5_000
# After a broker could not be reached, appends fail at once for so long.
AWAY_SECONDS = 1.0
# A poll does not return for a transaction marker alone, although the position moves: look at it now and then.
POLL_MS = 100
LAST_CALENDAR_MS = 253_402_300_799_999
# Four times a batch of usual size would be fetched in vain: what is prefetched beyond a range is dropped.
FETCH_BYTES = 4 * 1024 * 1024


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except OffsetOutOfRangeError as error:
        raise OffsetOutOfRange(str(error)) from error
    except KafkaError as error:
        raise LogUnavailable(f"Kafka: {type(error).__name__}: {error}") from error


def _calendar_ms(timestamp_ms: int) -> int:
    """Bring a producer's own log time (CreateTime, any int64) into what a calendar holds."""
    return min(max(timestamp_ms, 0), LAST_CALENDAR_MS)


class KafkaLog:
    """A `Log` over one consumer without a group, made lazily so that it can be created before a fork."""

    def __init__(self, brokers: Sequence[str], *, security: Mapping[str, Any], request_timeout_seconds: float) -> None:
        self._brokers = list(brokers)
        self._security = {name: value for name, value in security.items() if value is not None}
        self._timeout_ms = int(request_timeout_seconds * 1000)
        self._consumer: Any = None
        self._admin: Any = None
        self._assigned: tuple[str, int] | None = None

    def _client(self) -> Any:
        if self._consumer is None:
            self._consumer = KafkaConsumer(
                bootstrap_servers=self._brokers,
                client_id="sentinel-worker",
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level="read_committed",
                metadata_max_age_ms=METADATA_MAX_AGE_MS,
                request_timeout_ms=self._timeout_ms,
                bootstrap_timeout_ms=self._timeout_ms,
                max_partition_fetch_bytes=FETCH_BYTES,
                fetch_max_bytes=FETCH_BYTES,
                fetch_max_wait_ms=100,
                allow_auto_create_topics=False,
                metrics_enabled=False,
                **self._security,
            )
        return self._consumer

    def _admin_client(self) -> Any:
        if self._admin is None:
            self._admin = KafkaAdminClient(
                bootstrap_servers=self._brokers,
                client_id="sentinel-admin",
                request_timeout_ms=self._timeout_ms,
                bootstrap_timeout_ms=self._timeout_ms,
                **self._security,
            )
        return self._admin

    def partitions(self, topics: Collection[str]) -> Sequence[PartitionId]:
        with _translated_errors():
            admin = self._admin_client()
            cluster_id = str(admin.describe_cluster()["cluster_id"])
            existing = sorted(set(topics) & set(admin.list_topics()))
            described = admin.describe_topics(existing) if existing else []
        return [
            PartitionId(cluster_id, str(topic["topic_id"]), topic["name"], partition["partition_index"])
            for topic in described
            for partition in sorted(topic["partitions"], key=lambda item: item["partition_index"])
        ]

    def create_topics(self, topics: Collection[str], *, partitions: int) -> None:
        """Create those topics that do not exist."""
        with _translated_errors():
            admin = self._admin_client()
            for topic in sorted(set(topics) - set(admin.list_topics())):
                try:
                    admin.create_topics({topic: {"num_partitions": partitions, "replication_factor": -1}})
                except TopicAlreadyExistsError:
                    continue

    def beginning_offsets(self, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        with _translated_errors():
            found = self._client().beginning_offsets([TopicPartition(*item) for item in partitions])
        return {(item.topic, item.partition): offset for item, offset in found.items()}

    def end_offsets(self, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        with _translated_errors():
            found = self._client().end_offsets([TopicPartition(*item) for item in partitions])
        return {(item.topic, item.partition): offset for item, offset in found.items()}

    def read(self, topic: str, partition: int, start: int, end: int, *, max_bytes: int) -> Chunk:
        target = TopicPartition(topic, partition)
        with _translated_errors():
            consumer = self._client()
            # Assigning anew every time drops what was prefetched for another range.
            consumer.assign([target])
            consumer.seek(target, start)
            records, position = self._poll_range(consumer, target, start, end, max_bytes)
            end_offset = position
            if (consumer.highwater(target) or 0) > position:
                # The high watermark counts records of open transactions, which cannot be read yet.
                end_offset = max(position, consumer.end_offsets([target])[target])
        return Chunk(records, position, end_offset)

    def _poll_range(
        self, consumer: Any, target: TopicPartition, start: int, end: int, max_bytes: int
    ) -> tuple[list[Record], int]:
        records: list[Record] = []
        size = 0
        position = start
        deadline = time.monotonic() + self._timeout_ms / 1000
        while position < end and size < max_bytes and time.monotonic() < deadline:
            polled = consumer.poll(timeout_ms=POLL_MS, max_records=end - position).get(target, ())
            position = consumer.position(target)
            for item in polled:
                if item.offset >= end or size >= max_bytes:
                    return records, min(item.offset, end)
                records.append(Record(item.offset, _calendar_ms(item.timestamp), item.key, item.value, item.headers))
                size += len(item.value or b"")
        return records, min(position, end)

    def close(self) -> None:
        for client in (self._consumer, self._admin):
            if client is not None:
                client.close()
        self._consumer = self._admin = None


class KafkaAppender:
    """An `Appender` over one idempotent producer per process."""

    def __init__(self, brokers: Sequence[str], *, security: Mapping[str, Any], request_timeout_seconds: float) -> None:
        self._brokers = list(brokers)
        self._security = {name: value for name, value in security.items() if value is not None}
        self._timeout_ms = int(request_timeout_seconds * 1000)
        self._lock = threading.Lock()
        self._away_until = float("-inf")
        self._producer: Any = None

    def _client(self) -> Any:
        with self._lock:
            if self._producer is None:
                if time.monotonic() < self._away_until:
                    raise LogUnavailable("Kafka: no broker could be reached a moment ago")
                try:
                    self._producer = self._new_producer()
                except KafkaError:
                    # The others that wait for the lock shall not each wait for the broker in turn.
                    self._away_until = time.monotonic() + AWAY_SECONDS
                    raise
            return self._producer

    def _new_producer(self) -> Any:
        return KafkaProducer(
            bootstrap_servers=self._brokers,
            client_id="sentinel-http",
            acks="all",
            enable_idempotence=True,
            compression_type="lz4",
            linger_ms=5,
            max_request_size=2 * 1024 * 1024,
            request_timeout_ms=self._timeout_ms,
            bootstrap_timeout_ms=self._timeout_ms,
            delivery_timeout_ms=self._timeout_ms + 1_000,
            max_block_ms=self._timeout_ms,
            metrics_enabled=False,
            **self._security,
        )

    def append(self, topic: str, records: Sequence[NewRecord], *, timeout_seconds: float) -> None:
        producer = None
        try:
            with _translated_errors():
                producer = self._client()
                futures = [
                    producer.send(topic, key=record.key, value=record.value, headers=list(record.headers))
                    for record in records
                ]
                for future in futures:
                    future.get(timeout=timeout_seconds)
        except LogUnavailable:
            self._replace(producer)
            raise

    def _replace(self, failed: Any) -> None:
        """Let the next append make a new producer.

        An idempotent producer of kafka-python 3.0 whose batch has expired loses its id and waits for another for ever.
        """
        with self._lock:
            if failed is None or self._producer is not failed:
                return
            self._producer = None
        # Closing flushes, which takes as long as the outage: nobody waits for it.
        threading.Thread(target=_close_quietly, args=(failed,), name="kafka-producer-close", daemon=True).start()

    def close(self) -> None:
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            _close_quietly(producer)


def _close_quietly(producer: Any) -> None:
    try:
        producer.close(timeout=5)
    except KafkaError as error:
        logger.info("kafka.producer_close_failed", error=type(error).__name__)
