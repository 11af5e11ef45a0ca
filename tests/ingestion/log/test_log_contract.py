"""What every log promises, run against PostgreSQL and a real Kafka alike."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from ingestion.log.base import Anchor, Appender, Log, LogUnavailable, NewRecord, OffsetOutOfRange, Record
from ingestion.log.kafka import KafkaAppender, KafkaLog
from ingestion.log.postgres import PostgresAppender, PostgresLog, create_topics
from ingestion.partitions import ensure_partitions

# The PostgreSQL log appends in a thread of its own, which sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)

BIG = 1_000_000


@dataclass
class LogUnderTest:
    log: Log
    appender: Appender
    topic: str

    def append(self, *values: bytes, key: bytes = b"k") -> None:
        self.appender.append(self.topic, [NewRecord(key, value) for value in values], timeout_seconds=10)

    @property
    def partition(self) -> int:
        """The partition that the key b"k" belongs to, found by where records are."""
        keys = [(self.topic, item.partition) for item in self.log.partitions([self.topic])]
        return next(partition for (_, partition), end in self.log.end_offsets(keys).items() if end > 0)

    def read(self, start: int, end: int, max_bytes: int = BIG) -> Any:
        return self.log.read(self.topic, self.partition, start, end, max_bytes=max_bytes)


@pytest.fixture(params=["postgres", "kafka"])
def a_log(request: pytest.FixtureRequest) -> Iterator[LogUnderTest]:
    topic = f"contract-{uuid.uuid4()}"
    if request.param == "postgres":
        ensure_partitions()
        create_topics([topic])
        found = LogUnderTest(PostgresLog(), PostgresAppender(), topic)
    else:
        brokers = request.getfixturevalue("kafka").brokers.split(",")
        log = KafkaLog(brokers, security={}, request_timeout_seconds=10)
        log.create_topics([topic], partitions=2)
        found = LogUnderTest(log, KafkaAppender(brokers, security={}, request_timeout_seconds=10), topic)
    yield found
    found.appender.close()
    found.log.close()


def values(records: list[Record]) -> list[bytes | None]:
    return [record.value for record in records]


def test_records_of_one_key_come_back_in_order_from_one_partition(a_log: LogUnderTest) -> None:
    a_log.append(*[f"v{n}".encode() for n in range(50)])
    chunk = a_log.read(0, 50)
    assert values(chunk.records) == [f"v{n}".encode() for n in range(50)]
    assert [record.offset for record in chunk.records] == list(range(50))
    assert (chunk.next_offset, chunk.end_offset) == (50, 50)


def test_a_range_holds_its_start_and_not_its_end(a_log: LogUnderTest) -> None:
    a_log.append(b"a", b"b", b"c", b"d")
    chunk = a_log.read(1, 3)
    assert values(chunk.records) == [b"b", b"c"]
    assert chunk.next_offset == 3
    assert chunk.end_offset == 4


def test_a_read_stops_at_its_byte_budget_but_takes_one_record_at_least(a_log: LogUnderTest) -> None:
    a_log.append(b"x" * 1000, b"y" * 1000, b"z" * 1000)
    assert len(a_log.read(0, 3, max_bytes=1).records) == 1
    chunk = a_log.read(0, 3, max_bytes=1500)
    assert len(chunk.records) == 2
    assert chunk.next_offset == 2


def test_a_read_at_the_end_is_empty(a_log: LogUnderTest) -> None:
    a_log.append(b"a")
    chunk = a_log.read(1, 1)
    assert (list(chunk.records), chunk.next_offset) == ([], 1)


def test_a_start_beyond_the_end_is_out_of_range(a_log: LogUnderTest) -> None:
    a_log.append(b"a")
    with pytest.raises(OffsetOutOfRange):
        a_log.read(100, 110)


def test_headers_and_key_come_back(a_log: LogUnderTest) -> None:
    headers = [("sentinel-producer", b"\x00\xff"), ("b", b"")]
    a_log.appender.append(a_log.topic, [NewRecord(b"k", b"v", headers)], timeout_seconds=10)
    record = a_log.read(0, 1).records[0]
    assert (record.key, [(name, bytes(value)) for name, value in record.headers]) == (b"k", headers)


def test_log_times_do_not_run_backwards(a_log: LogUnderTest) -> None:
    for n in range(5):
        a_log.append(f"{n}".encode())
    times = [record.timestamp_ms for record in a_log.read(0, 5).records]
    assert times == sorted(times)


def test_begin_and_end_offsets_span_what_was_appended(a_log: LogUnderTest) -> None:
    a_log.append(b"a", b"b")
    key = (a_log.topic, a_log.partition)
    assert a_log.log.beginning_offsets([key]) == {key: 0}
    assert a_log.log.end_offsets([key]) == {key: 2}


def test_partitions_carry_the_identity_of_cluster_and_topic(a_log: LogUnderTest) -> None:
    found = a_log.log.partitions([a_log.topic, "does-not-exist"])
    assert {item.topic for item in found} == {a_log.topic}
    assert len({(item.cluster_id, item.topic_id) for item in found}) == 1
    assert [item.partition for item in found] == list(range(len(found)))
    assert all(item.cluster_id and item.topic_id for item in found)


def test_reading_again_gives_the_same_anchors(a_log: LogUnderTest) -> None:
    a_log.append(b"a", b"b", b"c")
    first = [Anchor.of(record) for record in a_log.read(0, 3).records]
    assert [Anchor.of(record) for record in a_log.read(0, 3).records] == first
    assert len({anchor.crc for anchor in first}) == 3


def test_a_log_that_cannot_be_reached_says_so() -> None:
    log = KafkaLog(["127.0.0.1:1"], security={}, request_timeout_seconds=1)
    with pytest.raises(LogUnavailable):
        log.end_offsets([("t", 0)])
