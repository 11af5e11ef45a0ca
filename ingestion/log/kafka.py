"""The log on Kafka, by kafka-python.

Reads are `assign` + `seek` + `poll`: pausing the other partitions instead costs 100 ms a read. Progress is the
consumer's position, never "until the last offset was seen": a range may end in a transaction marker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import (
    KafkaError,
    NoError,
    NotLeaderForPartitionError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    UnknownBrokerIdError,
    UnknownTopicOrPartitionError,
    for_code,
)
from kafka.protocol.consumer import IsolationLevel, OffsetSpec

from ingestion.log.base import Chunk, LogUnavailable, NewRecord, OffsetOutOfRange, PartitionId, Record
from ingestion.log.kafka_client import client_options, close_quietly, make_client
from ingestion.log.kafka_records import with_values

logger = structlog.get_logger(__name__)

# A producer that is closed has so long to flush, and as long again to end without.
CLOSE_SECONDS = 5
# After a broker could not be reached, appends fail at once for so long.
AWAY_SECONDS = 1.0
# A poll does not return for a transaction marker alone, although the position moves: look at it now and then.
POLL_MS = 100
# A read that gets nothing for so long asks whether there is anything to get.
STILL_SECONDS = 1.0
LAST_CALENDAR_MS = 253_402_300_799_999
# Four times a batch of usual size would be fetched in vain: what is prefetched beyond a range is dropped.
FETCH_BYTES = 4 * 1024 * 1024
# Of single partitions, not of the connection: the others are asked again without them.
_PARTITION_ERRORS = (UnknownTopicOrPartitionError, UnknownBrokerIdError, NotLeaderForPartitionError)


@contextmanager
def _translated_errors(give_up: Callable[[], None]) -> Iterator[None]:
    """Raise what `Log` promises; `give_up` is called where the client may be to blame, so that the next is a new one."""
    try:
        yield
    except OffsetOutOfRangeError as error:
        raise OffsetOutOfRange(str(error)) from error
    except (LogUnavailable, OffsetOutOfRange):
        raise
    except KafkaError as error:
        give_up()
        raise LogUnavailable(f"Kafka: {type(error).__name__}: {error}") from error
    except Exception:
        give_up()
        raise


def _calendar_ms(timestamp_ms: int) -> int:
    """Bring a producer's own log time (CreateTime, any int64) into what a calendar holds."""
    return min(max(timestamp_ms, 0), LAST_CALENDAR_MS)


class KafkaLog:
    """A `Log` over one consumer without a group and one admin client, both made when first needed, after a fork.

    Offsets and names come from the admin client: it asks for metadata every time, so that a topic that was deleted or
    recreated a moment ago is seen as such, while a consumer looks for it until its time is up.
    """

    def __init__(self, brokers: Sequence[str], *, security: Mapping[str, Any], request_timeout_seconds: float) -> None:
        self._options = client_options(brokers, security=security, request_timeout_seconds=request_timeout_seconds)
        self._timeout_seconds = request_timeout_seconds
        self._consumer: Any = None
        self._admin: Any = None

    def _client(self) -> Any:
        if self._consumer is None:
            self._consumer = make_client(
                KafkaConsumer,
                client_id="sentinel-worker",
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level="read_committed",
                max_partition_fetch_bytes=FETCH_BYTES,
                fetch_max_bytes=FETCH_BYTES,
                fetch_max_wait_ms=100,
                allow_auto_create_topics=False,
                metrics_enabled=False,
                **self._options,
            )
        return self._consumer

    def _admin_client(self) -> Any:
        if self._admin is None:
            self._admin = make_client(KafkaAdminClient, client_id="sentinel-admin", **self._options)
        return self._admin

    # --- what there is -----------------------------------------------------------------------------------------------

    def partitions(self, topics: Collection[str]) -> Sequence[PartitionId]:
        if not topics:
            return []
        with _translated_errors(self.close):
            admin = self._admin_client()
            cluster_id = str(admin.describe_cluster()["cluster_id"])
            described = [topic for topic in admin.describe_topics(sorted(topics)) if _exists(topic)]
        return [
            PartitionId(cluster_id, str(topic["topic_id"]), topic["name"], partition["partition_index"])
            for topic in described
            for partition in sorted(topic["partitions"], key=lambda item: item["partition_index"])
        ]

    def create_topics(self, topics: Collection[str], *, partitions: int) -> None:
        """Create those topics that do not exist."""
        with _translated_errors(self.close):
            admin = self._admin_client()
            for topic in sorted(set(topics) - set(admin.list_topics())):
                try:
                    admin.create_topics({topic: {"num_partitions": partitions, "replication_factor": -1}})
                except TopicAlreadyExistsError:
                    continue

    def beginning_offsets(self, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return self._offsets(partitions, OffsetSpec.EARLIEST, IsolationLevel.READ_COMMITTED)

    def end_offsets(self, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return self._offsets(partitions, OffsetSpec.LATEST, IsolationLevel.READ_COMMITTED)

    def written_offsets(self, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return self._offsets(partitions, OffsetSpec.LATEST, IsolationLevel.READ_UNCOMMITTED)

    def _offsets(
        self, partitions: Collection[tuple[str, int]], which: OffsetSpec, isolation: IsolationLevel
    ) -> Mapping[tuple[str, int], int]:
        if not partitions:
            return {}
        wanted = {TopicPartition(*item): which for item in partitions}
        with _translated_errors(self.close):
            admin = self._admin_client()
            try:
                found = admin.list_partition_offsets(wanted, isolation_level=isolation)
            except _PARTITION_ERRORS:
                wanted = dict.fromkeys(self._led(wanted), which)
                found = admin.list_partition_offsets(wanted, isolation_level=isolation) if wanted else {}
        return {(item.topic, item.partition): place.offset for item, place in found.items()}

    def _led(self, partitions: Collection[TopicPartition]) -> list[TopicPartition]:
        """Return those of the partitions that exist and have a leader."""
        described = self._admin_client().describe_topics(sorted({item.topic for item in partitions}))
        led = {
            (topic["name"], partition["partition_index"])
            for topic in described
            for partition in topic["partitions"]
            if partition["leader_id"] >= 0
        }
        return [item for item in partitions if item in led]

    # --- reading -----------------------------------------------------------------------------------------------------

    def read(self, topic: str, partition: int, start: int, end: int, *, max_bytes: int) -> Chunk:
        target = TopicPartition(topic, partition)
        with _translated_errors(self.close):
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
        patience = _Patience(self._timeout_seconds)
        while position < end and size < max_bytes and not patience.is_over:
            polled = consumer.poll(timeout_ms=POLL_MS, max_records=end - position).get(target, ())
            before, position = position, consumer.position(target)
            for item in polled:
                if item.offset >= end or size >= max_bytes:
                    return records, min(item.offset, end)
                headers = with_values(item.headers)
                records.append(Record(item.offset, _calendar_ms(item.timestamp), item.key, item.value, headers))
                size += len(item.value or b"")
            if patience.is_tried(moved=position > before) and position >= self._end_of(target):
                break
        return records, min(position, end)

    def _end_of(self, target: TopicPartition) -> int:
        key = (target.topic, target.partition)
        found = self.end_offsets([key]).get(key)
        if found is None:
            raise LogUnavailable(f"Kafka: {target.topic}[{target.partition}] does not exist or has no leader")
        return found

    def close(self) -> None:
        clients, self._consumer, self._admin = (self._consumer, self._admin), None, None
        for client in clients:
            if client is not None:
                close_quietly(client)


def _exists(topic: Mapping[str, Any]) -> bool:
    error = for_code(topic["error_code"])
    if error not in {NoError, UnknownTopicOrPartitionError}:
        logger.warning("kafka.topic_refused", topic=topic["name"], error=error.__name__)
    return error is NoError


class _Patience:
    """How long a read waits: in all, and without any progress before it asks what is wrong."""

    def __init__(self, seconds: float) -> None:
        self._moved_at = time.monotonic()
        self._until = self._moved_at + seconds

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._until

    def is_tried(self, *, moved: bool) -> bool:
        """Tell, once a second, that nothing has come."""
        now = time.monotonic()
        if moved:
            self._moved_at = now
        elif now - self._moved_at >= STILL_SECONDS:
            self._moved_at = now
            return True
        return False


class KafkaAppender:
    """An `Appender` over one idempotent producer per process."""

    def __init__(self, brokers: Sequence[str], *, security: Mapping[str, Any], request_timeout_seconds: float) -> None:
        self._options = client_options(brokers, security=security, request_timeout_seconds=request_timeout_seconds)
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
        return make_client(
            KafkaProducer,
            client_id="sentinel-http",
            acks="all",
            enable_idempotence=True,
            compression_type="lz4",
            linger_ms=5,
            max_request_size=2 * 1024 * 1024,
            delivery_timeout_ms=self._timeout_ms + 1_000,
            max_block_ms=self._timeout_ms,
            metrics_enabled=False,
            **self._options,
        )

    def append(self, topic: str, records: Sequence[NewRecord], *, timeout_seconds: float) -> None:
        producer = None

        def give_up() -> None:
            self._replace(producer)

        with _translated_errors(give_up):
            producer = self._client()
            futures = [
                producer.send(topic, key=record.key, value=record.value, headers=list(record.headers))
                for record in records
            ]
            for future in futures:
                future.get(timeout=timeout_seconds)

    def _replace(self, failed: Any) -> None:
        """Let the next append make a new producer.

        An idempotent producer of kafka-python 3.0 whose batch has expired loses its id and waits for another for ever.
        """
        with self._lock:
            if failed is None or self._producer is not failed:
                return
            self._producer = None
        # Closing flushes, which takes as long as the outage: nobody waits for it.
        close = threading.Thread(target=_close_producer, args=(failed,), name="kafka-producer-close", daemon=True)
        close.start()

    def close(self) -> None:
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            _close_producer(producer)


def _close_producer(producer: Any) -> None:
    """Close a producer, with its thread and connections.

    Closing one of kafka-python 3.0 that cannot flush in time raises before it ends anything, and raises again when the
    producer is collected.
    """
    close_quietly(producer, timeout=CLOSE_SECONDS)
    sender = producer._sender
    if sender.is_alive():
        sender.force_close()
        sender.join(CLOSE_SECONDS)
        close_quietly(producer, timeout=CLOSE_SECONDS)
