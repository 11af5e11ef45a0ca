"""What the rest of Sentinel knows of a log.

Two implementations, `ingestion.log.kafka` and `ingestion.log.postgres`, run the same contract tests.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Header = tuple[str, bytes]


class LogUnavailable(Exception):
    """The log cannot be reached or did not answer in time: retry later; nothing is wrong with the records."""


class OffsetOutOfRange(Exception):
    """The asked offset lies below the log's beginning or beyond its end; never move a cursor because of it."""


@dataclass(frozen=True, slots=True)
class PartitionId:
    """A partition and the identity of the topic that it belonged to when it was listed."""

    cluster_id: str
    topic_id: str
    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Record:
    """One record as the log holds it. `timestamp_ms` is the log's own time, milliseconds since 1970."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header]

    def __repr__(self) -> str:
        size = len(self.value) if self.value is not None else 0
        return f"Record(offset={self.offset}, timestamp_ms={self.timestamp_ms}, {size} bytes)"


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record to append; `key` decides the partition."""

    key: bytes | None
    value: bytes
    headers: Sequence[Header] = ()


@dataclass(frozen=True, slots=True)
class Anchor:
    """What identifies a record: a recreated or refilled log answers at the same offset without an error."""

    offset: int
    timestamp_ms: int
    crc: int

    @classmethod
    def of(cls, record: Record) -> Anchor:
        return cls(record.offset, record.timestamp_ms, zlib.crc32(record.value or b""))


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records of a range in offset order.

    `next_offset` is where the next read starts: offsets without a record (transaction markers, compacted holes) are
    passed. `end_offset` is the partition's end as known after the read.
    """

    records: Sequence[Record]
    next_offset: int
    end_offset: int

    def until(self, offset: int) -> Chunk:
        """Return the part before `offset`, which must lie within."""
        return Chunk([record for record in self.records if record.offset < offset], offset, self.end_offset)


class Log(Protocol):
    """A set of topics with partitions. Made after a fork, used by one thread.

    Every method may block up to the request timeout and raises `LogUnavailable` when the log does not answer.
    """

    def partitions(self, topics: Collection[str]) -> Sequence[PartitionId]:
        """Return the partitions of those topics that exist; called by the bridge every few seconds."""

    def beginning_offsets(self, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Return the first offset that can still be read, by (topic, partition).

        Here and below a partition that the log does not have (any more), or that no broker leads now, is left out.
        """

    def end_offsets(self, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Return the offset after the last record that can be read, by (topic, partition).

        Records of an open transaction, and whatever follows its first one, cannot be read yet.
        """

    def written_offsets(self, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Return the offset after the last record, readable or not, by (topic, partition)."""

    def read(self, topic: str, partition: int, start: int, end: int, *, max_bytes: int) -> Chunk:
        """Return the records in [start, end), fewer if `max_bytes` of values are reached, at least one if any is there.

        Raises `OffsetOutOfRange` for a start outside the log. Does not promise that `next_offset` reaches `end`: the
        log may end before it.
        """

    def close(self) -> None:
        """Release connections; the log must not be used afterwards."""


class Appender(Protocol):
    """Writes to the log; safe to share between threads."""

    def append(self, topic: str, records: Sequence[NewRecord], *, timeout_seconds: float) -> None:
        """Return once every record is durable; raise `LogUnavailable` if that is not known within the timeout.

        After an exception some records may be in the log: producers repeat with the same event ids.
        """

    def close(self) -> None: ...
