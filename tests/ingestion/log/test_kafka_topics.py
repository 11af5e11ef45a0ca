"""Topics that are deleted, recreated, emptied or enlarged while clients are open."""

from __future__ import annotations

import time

import psutil
import pytest

from ingestion.log.base import LogUnavailable, OffsetOutOfRange
from tests.ingestion.log.conftest import KafkaTopic, new_log
from tests.services import KafkaBroker

SOON_SECONDS = 4.0


def keys(topic: KafkaTopic, count: int) -> list[tuple[str, int]]:
    return [(topic.name, partition) for partition in range(count)]


def test_offsets_of_a_deleted_topic_are_left_out_at_once(topic: KafkaTopic) -> None:
    topic.append(b"a", b"b")
    assert topic.end() == 2
    topic.delete()
    begun = time.monotonic()
    assert topic.log.end_offsets(keys(topic, 1)) == {}
    assert topic.log.beginning_offsets(keys(topic, 1)) == {}
    assert topic.log.partitions([topic.name]) == []
    assert time.monotonic() - begun < SOON_SECONDS


def test_a_deleted_topic_does_not_hide_the_others(topic: KafkaTopic, kafka: KafkaBroker) -> None:
    other = KafkaTopic(kafka.brokers)
    other.append(b"a")
    both = [(topic.name, 0), (other.name, 0)]
    assert len(topic.log.end_offsets(both)) == 2
    topic.delete()
    assert topic.log.end_offsets(both) == {(other.name, 0): 1}
    other.close()


def test_a_read_of_a_deleted_topic_gives_up_soon_and_quietly(topic: KafkaTopic) -> None:
    topic.append(b"a", b"b")
    topic.read(0, 1)
    topic.delete()
    process = psutil.Process()
    begun, cpu_begun = time.monotonic(), sum(process.cpu_times()[:2])
    with pytest.raises(LogUnavailable, match="does not exist"):
        topic.read(2, 3)
    assert time.monotonic() - begun < SOON_SECONDS
    assert sum(process.cpu_times()[:2]) - cpu_begun < 1.5


def test_a_recreated_topic_has_a_new_id_and_its_own_offsets(topic: KafkaTopic) -> None:
    topic.append(b"a", b"b", b"c")
    topic.read(0, 3)
    (before,) = topic.log.partitions([topic.name])
    topic.recreate()
    (after,) = topic.log.partitions([topic.name])
    assert (after.cluster_id, after.topic_id == before.topic_id) == (before.cluster_id, False)
    assert topic.end() == 0
    topic.append(b"x")
    assert topic.end() == 1
    assert [record.value for record in topic.read(0, 1).records] == [b"x"]


def test_an_offset_of_before_is_out_of_range_in_a_recreated_topic(topic: KafkaTopic) -> None:
    topic.append(b"a", b"b", b"c")
    topic.read(0, 3)
    topic.recreate()
    with pytest.raises(OffsetOutOfRange):
        topic.read(2, 3)


def test_a_topic_recreated_with_fewer_partitions_has_offsets_for_these_only(kafka: KafkaBroker) -> None:
    topic = KafkaTopic(kafka.brokers, partitions=4)
    topic.read(0, 0)
    assert len(topic.log.end_offsets(keys(topic, 4))) == 4
    topic.recreate(partitions=2)
    assert set(topic.log.end_offsets(keys(topic, 4))) == set(keys(topic, 2))
    with pytest.raises(LogUnavailable, match="does not exist"):
        topic.read(0, 1, partition=3)
    topic.close()


def test_new_partitions_are_listed_and_read_by_open_clients(topic: KafkaTopic) -> None:
    topic.append(b"a")
    topic.read(0, 1)
    topic.admin.create_partitions({topic.name: 3})
    deadline = time.monotonic() + 6
    while len(topic.log.partitions([topic.name])) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [item.partition for item in topic.log.partitions([topic.name])] == [0, 1, 2]
    topic.append(b"b", partition=2, linger_ms=0)
    assert topic.end(2) == 1
    assert [record.value for record in topic.read(0, 1, partition=2).records] == [b"b"]


def test_a_start_below_what_retention_left_is_out_of_range(topic: KafkaTopic) -> None:
    topic.append(*[b"%d" % n for n in range(10)])
    topic.read(0, 10)
    topic.delete_records(6)
    assert topic.log.beginning_offsets([(topic.name, 0)]) == {(topic.name, 0): 6}
    with pytest.raises(OffsetOutOfRange):
        topic.read(5, 10)
    assert [record.offset for record in topic.read(6, 10).records] == [6, 7, 8, 9]


def test_an_emptied_topic_begins_at_its_end(topic: KafkaTopic) -> None:
    topic.append(*[b"%d" % n for n in range(10)])
    topic.delete_records(10)
    key = (topic.name, 0)
    assert (topic.log.beginning_offsets([key])[key], topic.end()) == (10, 10)


def test_a_read_beyond_the_end_of_the_log_returns_soon_with_what_there_is(topic: KafkaTopic) -> None:
    topic.append(b"a", b"b")
    begun = time.monotonic()
    chunk = topic.read(0, 1_000)
    assert time.monotonic() - begun < SOON_SECONDS
    assert (len(chunk.records), chunk.next_offset, chunk.end_offset) == (2, 2, 2)


def test_a_topic_that_nobody_has_is_not_created_by_looking(kafka: KafkaBroker) -> None:
    log = new_log(kafka.brokers)
    assert log.partitions(["nobody-has-this"]) == []
    assert log.end_offsets([("nobody-has-this", 0)]) == {}
    assert log.partitions([]) == []
    log.close()
