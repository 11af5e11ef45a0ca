"""The log without Kafka: the table `inbox`, with the same meaning.

One statement takes the offsets from the partition's counter row and inserts the records; the row lock makes offsets
visible in order, so that a reader never sees a hole that is filled later.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
import zlib
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from queue import Empty, SimpleQueue

from django.db import DatabaseError, InterfaceError, connection, transaction
from psycopg2.extras import execute_values

from ingestion.log.base import Chunk, Header, LogUnavailable, NewRecord, OffsetOutOfRange, PartitionId, Record
from ingestion.models import InboxPartition

CLUSTER_ID = "postgres"
# 2,300 single events/s on one partition; eight let appenders of several processes work side by side.
PARTITIONS = 8
MICRO_BATCH_SECONDS = 0.005
MICRO_BATCH_RECORDS = 1_000

_TAKE_OFFSETS = """
    UPDATE ingestion_inboxpartition SET end_offset = end_offset + %s
    WHERE topic = %s AND partition = %s RETURNING id, end_offset - %s
"""
_INSERT = "INSERT INTO inbox (inbox_partition_id, log_offset, appended_at, key, value, headers) VALUES %s"
# The budget is kept by the server: a range of large records would fill the reader's memory. Sizes stand in the row.
_READ = """
    SELECT log_offset, (extract(epoch FROM appended_at) * 1000)::bigint, key, value, headers
    FROM (
        SELECT record.*, sum(octet_length(value)) OVER (ORDER BY log_offset) - octet_length(value) AS bytes_before
        FROM inbox record
        WHERE inbox_partition_id = %s AND log_offset >= %s AND log_offset < %s
    ) sized
    WHERE bytes_before < %s OR log_offset = %s
    ORDER BY log_offset
"""


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        raise LogUnavailable(f"PostgreSQL: {type(error).__name__}") from error


def partition_of(key: bytes | None) -> int:
    """Return the partition that a key belongs to; records without a key share partition 0."""
    return zlib.crc32(key) % PARTITIONS if key else 0


def create_topics(topics: Collection[str]) -> None:
    """Create the partitions of those topics that do not exist."""
    InboxPartition.objects.bulk_create(
        [
            InboxPartition(topic=topic, partition=number, topic_id=topic_id)
            for topic, topic_id in ((topic, uuid.uuid4()) for topic in sorted(topics))
            for number in range(PARTITIONS)
        ],
        ignore_conflicts=True,
    )


class PostgresLog:
    """A `Log` on the default database connection of the calling thread."""

    def partitions(self, topics: Collection[str]) -> Sequence[PartitionId]:
        with _translated_errors():
            rows = InboxPartition.objects.filter(topic__in=list(topics)).order_by("topic", "partition")
            return [PartitionId(CLUSTER_ID, str(row.topic_id), row.topic, row.partition) for row in rows]

    def beginning_offsets(self, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return {key: row.begin_offset for key, row in self._rows(partitions).items()}

    def end_offsets(self, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return {key: row.end_offset for key, row in self._rows(partitions).items()}

    def written_offsets(self, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return self.end_offsets(partitions)

    def _rows(self, partitions: Collection[tuple[str, int]]) -> dict[tuple[str, int], InboxPartition]:
        with _translated_errors():
            rows = InboxPartition.objects.filter(topic__in={topic for topic, _ in partitions})
            wanted = set(partitions)
            return {(row.topic, row.partition): row for row in rows if (row.topic, row.partition) in wanted}

    def read(self, topic: str, partition: int, start: int, end: int, *, max_bytes: int) -> Chunk:
        row = self._rows([(topic, partition)]).get((topic, partition))
        if row is None or not row.begin_offset <= start <= row.end_offset:
            raise OffsetOutOfRange(f"{topic}[{partition}] does not hold offset {start}")
        last = min(end, row.end_offset)
        with _translated_errors(), connection.cursor() as cursor:
            cursor.execute(_READ, [row.pk, start, last, max_bytes, start])
            records = [
                Record(offset, timestamp_ms, key and bytes(key), bytes(value), _decode_headers(headers))
                for offset, timestamp_ms, key, value, headers in cursor
            ]
        if start < last and not _is_dense(records, start):
            # Appenders leave no holes: these rows were dropped meanwhile, or somebody deleted them.
            raise OffsetOutOfRange(f"{topic}[{partition}] no longer holds every offset from {start} on")
        return Chunk(records, start + len(records), row.end_offset)

    def close(self) -> None:
        """Nothing to release: the connection belongs to Django."""


def _is_dense(records: Sequence[Record], start: int) -> bool:
    return bool(records) and records[0].offset == start and records[-1].offset == start + len(records) - 1


def _encode_headers(headers: Sequence[Header]) -> str:
    return json.dumps([[name, b64encode(value).decode()] for name, value in headers])


def _decode_headers(stored: str | list[list[str]]) -> list[Header]:
    items = json.loads(stored) if isinstance(stored, str) else stored
    return [(name, b64decode(value)) for name, value in items]


def append_now(topic: str, records: Sequence[NewRecord]) -> None:
    """Append in one transaction per partition, in the calling thread."""
    by_partition: dict[int, list[NewRecord]] = defaultdict(list)
    for record in records:
        by_partition[partition_of(record.key)].append(record)
    for partition, items in sorted(by_partition.items()):
        _append_partition(topic, partition, items)


def _append_partition(topic: str, partition: int, records: Sequence[NewRecord]) -> None:
    count = len(records)
    # What psycopg2 itself executes below raises its own errors unless they are wrapped here.
    with _translated_errors(), connection.wrap_database_errors, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_TAKE_OFFSETS, [count, topic, partition, count])
        taken = cursor.fetchone()
        if taken is None:
            raise LogUnavailable(f"Topic {topic} does not exist in the inbox")
        partition_id, base = taken
        execute_values(
            cursor.cursor,
            _INSERT,
            [
                (partition_id, base + index, record.key, record.value, _encode_headers(record.headers))
                for index, record in enumerate(records)
            ],
            # The lock on the counter row is held: log times never run backwards within a partition.
            template="(%s, %s, clock_timestamp(), %s, %s, %s)",
            page_size=500,
        )


_Append = tuple[str, Sequence[NewRecord], "Future[None]"]


class PostgresAppender:
    """An `Appender` whose one thread gathers what all request threads append within five milliseconds."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[_Append | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def append(self, topic: str, records: Sequence[NewRecord], *, timeout_seconds: float) -> None:
        done: Future[None] = Future()
        self._queue.put((topic, records, done))
        self._ensure_thread()
        try:
            done.result(timeout=timeout_seconds)
        except TimeoutError as error:
            raise LogUnavailable(f"PostgreSQL did not commit within {timeout_seconds:g} s") from error

    def _ensure_thread(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="inbox-appender", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while batch := self._next_batch():
            self._append_batch(batch)
        connection.close()

    def _next_batch(self) -> list[_Append]:
        """Return what arrives within the micro-batch's time; nothing once the appender is closed."""
        first = self._queue.get()
        if first is None:
            return []
        batch = [first]
        deadline = time.monotonic() + MICRO_BATCH_SECONDS
        while len(batch) < MICRO_BATCH_RECORDS and (wait := deadline - time.monotonic()) > 0:
            try:
                item = self._queue.get(timeout=wait)
            except Empty:
                break
            if item is None:
                self._queue.put(None)
                break
            batch.append(item)
        return batch

    def _append_batch(self, batch: Sequence[_Append]) -> None:
        by_topic: dict[str, list[tuple[Sequence[NewRecord], Future[None]]]] = defaultdict(list)
        for topic, records, done in batch:
            by_topic[topic].append((records, done))
        for topic, items in by_topic.items():
            try:
                append_now(topic, [record for records, _ in items for record in records])
            except Exception as error:  # noqa: BLE001  # The thread serves everybody: each waiter gets the error, the thread goes on.
                connection.close()
                for _, done in items:
                    done.set_exception(error)
            else:
                for _, done in items:
                    done.set_result(None)

    def close(self) -> None:
        """Append what is queued, then end the thread and its connection."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join(timeout=10)
