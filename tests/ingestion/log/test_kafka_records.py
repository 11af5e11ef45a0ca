"""What producers may put into a record or a batch comes back as it is."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords

from ingestion.log.kafka_records import with_values
from tests.ingestion.log.conftest import KafkaTopic

BIG = 1_900_000


class RawName(str):
    """A header name of bytes that are no UTF-8, as clients in C can write it."""

    __slots__ = ()

    def encode(self, *_: Any) -> bytes:
        return b"\xff\xfe"


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_every_compression_is_read(topic: KafkaTopic, codec: str) -> None:
    sent = [b"%d " % n * 200 for n in range(3_000)]
    topic.append(*sent, compression_type=codec, linger_ms=20)
    chunk = topic.read(0, 3_000)
    assert [record.value for record in chunk.records] == sent
    # From the middle of a compressed batch as well.
    assert [record.value for record in topic.read(1_501, 1_503).records] == sent[1_501:1_503]


def test_a_record_of_almost_the_largest_size_is_read(topic: KafkaTopic) -> None:
    value = os.urandom(BIG)
    topic.append(b"before", value, b"after", max_request_size=2_000_000)
    assert [record.value for record in topic.read(0, 3).records] == [b"before", value, b"after"]
    assert [record.offset for record in topic.read(1, 3, max_bytes=1).records] == [1]


def test_many_large_records_are_read_within_the_byte_budget(topic: KafkaTopic) -> None:
    topic.append(*[os.urandom(BIG)] * 6, max_request_size=2_000_000)
    chunk = topic.read(0, 6, max_bytes=4_000_000)
    assert chunk.next_offset == 3
    assert topic.read(3, 6).next_offset == 6


def test_a_record_without_a_value_and_one_of_nothing_differ(topic: KafkaTopic) -> None:
    topic.append(None, b"")
    assert [record.value for record in topic.read(0, 2).records] == [None, b""]


def test_a_header_without_a_value_is_an_empty_one() -> None:
    # kafka-python's producer refuses to send one; others do not.
    batch = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 10_000)
    batch.append(0, 1_000, b"k", b"v", [("sentinel-scrubbed", None), ("b", b"\x00")])
    (record,) = MemoryRecords(bytes(batch.build())).next_batch()
    assert list(with_values(record.headers)) == [("sentinel-scrubbed", b""), ("b", b"\x00")]


@pytest.mark.parametrize("codec", [None, "lz4"])
def test_a_header_whose_name_is_no_text_costs_the_record_its_headers_only(topic: KafkaTopic, codec: str | None) -> None:
    topic.append(b"before", headers=[("a", b"1")], compression_type=codec)
    topic.append(b"bad", headers=[("a", b"1"), (RawName("x"), b"2")], compression_type=codec)
    topic.append(b"after", headers=[("a", b"1")], compression_type=codec)
    records = topic.read(0, 3).records
    assert [(record.offset, record.key, record.value) for record in records] == [
        (0, b"k", b"before"),
        (1, b"k", b"bad"),
        (2, b"k", b"after"),
    ]
    assert [list(record.headers) for record in records] == [[("a", b"1")], [], [("a", b"1")]]
    assert records[0].timestamp_ms <= records[1].timestamp_ms <= records[2].timestamp_ms


def test_log_time_is_read_where_the_topic_says_so(topic: KafkaTopic) -> None:
    topic.delete()
    topic.create(configs={"message.timestamp.type": "LogAppendTime"})
    topic.append(b"bad", headers=[(RawName("x"), b"2")])
    (record,) = topic.read(0, 1).records
    assert abs(record.timestamp_ms / 1000 - time.time()) < 60


def test_compacted_offsets_are_passed(topic: KafkaTopic) -> None:
    topic.delete()
    topic.create(
        configs={
            "cleanup.policy": "compact",
            "segment.ms": "100",
            "min.cleanable.dirty.ratio": "0.01",
            "max.compaction.lag.ms": "100",
            "min.compaction.lag.ms": "0",
        }
    )
    topic.append(*[b"%d" % n for n in range(20)])
    deadline = time.monotonic() + 40
    while len(topic.read(0, 20).records) > 2:
        assert time.monotonic() < deadline, "the log was not compacted"
        time.sleep(0.3)
        topic.append(b"roll")
    chunk = topic.read(0, 19)
    assert chunk.next_offset == 19
    assert len(chunk.records) < 19
