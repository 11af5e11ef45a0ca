"""The log in PostgreSQL, read from outside row by row: without the code that is tried, and without Django."""

from __future__ import annotations

import json
import uuid
from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2

from ingestion.log.base import Chunk, LogUnavailable, OffsetOutOfRange, PartitionId, Record
from ingestion.log.postgres import CLUSTER_ID, PARTITIONS
from tests.faults.witness import Witness

_CREATE = """
    INSERT INTO ingestion_inboxpartition (topic, partition, topic_id, begin_offset, end_offset)
    SELECT %s, number, %s, 0, 0 FROM generate_series(0, %s - 1) AS number
"""
_PLACES = """
    SELECT topic, partition, topic_id::text, id, begin_offset, end_offset FROM ingestion_inboxpartition
    WHERE topic = ANY(%s) ORDER BY topic, partition
"""
_RECORDS = """
    SELECT log_offset, (extract(epoch FROM appended_at) * 1000)::bigint, key, value, headers FROM inbox
    WHERE inbox_partition_id = %s AND log_offset >= %s AND log_offset < %s ORDER BY log_offset
"""

Key = tuple[str, int]


class Inbox:
    """A `Log`. A hole in a partition is a fault of who appended: reading it raises AssertionError."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    def create_topic(self, topic: str) -> None:
        with _translated_errors():
            self._witness.execute(_CREATE, topic, str(uuid.uuid4()), PARTITIONS)

    def partitions(self, topics: Collection[str]) -> list[PartitionId]:
        return [PartitionId(CLUSTER_ID, row[2], row[0], row[1]) for row in self._places(topics)]

    def beginning_offsets(self, partitions: Collection[Key]) -> Mapping[Key, int]:
        return self._column(4, partitions)

    def end_offsets(self, partitions: Collection[Key]) -> Mapping[Key, int]:
        return self._column(5, partitions)

    def written_offsets(self, partitions: Collection[Key]) -> Mapping[Key, int]:
        return self.end_offsets(partitions)

    def read(self, topic: str, partition: int, start: int, end: int, *, max_bytes: int) -> Chunk:
        """Return the whole range, whatever its size: who asks for a range here has room for it."""
        found = [row for row in self._places([topic]) if row[1] == partition]
        if not found or not found[0][4] <= start <= found[0][5]:
            raise OffsetOutOfRange(f"{topic}[{partition}] does not hold offset {start}")
        (*_, place, _, log_end) = found[0]
        with _translated_errors():
            records = [_record(*row) for row in self._witness.rows(_RECORDS, place, start, end)]
        until = max(start, min(end, log_end))
        assert [record.offset for record in records] == list(range(start, until)), f"{topic}[{partition}] has a hole"
        return Chunk(records, until, log_end)

    def close(self) -> None:
        """Nothing to release: the witness belongs to somebody else."""

    def _places(self, topics: Collection[str]) -> list[tuple[Any, ...]]:
        with _translated_errors():
            return self._witness.rows(_PLACES, list(topics))

    def _column(self, place: int, partitions: Collection[Key]) -> Mapping[Key, int]:
        rows = self._places({topic for topic, _ in partitions})
        return {(row[0], row[1]): row[place] for row in rows if (row[0], row[1]) in partitions}


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except psycopg2.Error as error:
        raise LogUnavailable(type(error).__name__) from error


def _record(offset: int, timestamp_ms: int, key: memoryview | None, value: memoryview, headers: Any) -> Record:
    items = json.loads(headers) if isinstance(headers, str) else headers
    decoded = [(name, b64decode(text)) for name, text in items]
    return Record(offset, timestamp_ms, None if key is None else bytes(key), bytes(value), decoded)
