"""Transactions on Kafka: markers take offsets and are no records; what is open or aborted is not read."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from kafka import KafkaProducer
from structlog.testing import capture_logs

from ingestion.log.kafka import KafkaLog
from ingestion.open_transactions import HeldUp, OpenTransactions
from tests.services import KafkaBroker


@dataclass
class Topic:
    log: KafkaLog
    producer: Any
    name: str

    def send(self, *values: bytes) -> None:
        for value in values:
            self.producer.send(self.name, value=value, partition=0)
        self.producer.flush()

    def commit(self, *values: bytes) -> None:
        self.producer.begin_transaction()
        self.send(*values)
        self.producer.commit_transaction()

    @property
    def end(self) -> int:
        return self.log.end_offsets([(self.name, 0)])[(self.name, 0)]

    def wait_for_end(self, end: int) -> None:
        """Wait until the marker of the last transaction is written."""
        deadline = time.monotonic() + 10
        while self.end < end and time.monotonic() < deadline:
            time.sleep(0.05)
        assert self.end == end


@pytest.fixture
def topic(kafka: KafkaBroker) -> Iterator[Topic]:
    brokers = kafka.brokers.split(",")
    log = KafkaLog(brokers, security={}, request_timeout_seconds=10)
    name = f"transactions-{uuid.uuid4()}"
    log.create_topics([name], partitions=1)
    producer = KafkaProducer(bootstrap_servers=brokers, transactional_id=name)
    producer.init_transactions()
    yield Topic(log, producer, name)
    producer.close()
    log.close()


def test_a_range_that_ends_in_a_marker_is_read_to_its_end(topic: Topic) -> None:
    topic.commit(b"a", b"b")
    topic.wait_for_end(3)
    begun = time.monotonic()
    chunk = topic.log.read(topic.name, 0, 0, 3, max_bytes=1_000_000)
    assert [record.value for record in chunk.records] == [b"a", b"b"]
    assert (chunk.next_offset, chunk.end_offset) == (3, 3)
    assert time.monotonic() - begun < 5


def test_a_range_of_nothing_but_a_marker_is_passed(topic: Topic) -> None:
    topic.commit(b"a", b"b")
    topic.wait_for_end(3)
    begun = time.monotonic()
    chunk = topic.log.read(topic.name, 0, 2, 3, max_bytes=1_000_000)
    assert (list(chunk.records), chunk.next_offset) == ([], 3)
    assert time.monotonic() - begun < 5


def test_an_aborted_transaction_is_passed(topic: Topic) -> None:
    topic.commit(b"a")
    topic.producer.begin_transaction()
    topic.send(b"never", b"never")
    topic.producer.abort_transaction()
    topic.commit(b"b")
    topic.wait_for_end(7)
    chunk = topic.log.read(topic.name, 0, 0, 7, max_bytes=1_000_000)
    assert [(record.offset, record.value) for record in chunk.records] == [(0, b"a"), (5, b"b")]
    assert chunk.next_offset == 7


def test_an_open_transaction_is_not_promised_to_the_next_range(topic: Topic) -> None:
    topic.commit(b"a")
    topic.wait_for_end(2)
    topic.producer.begin_transaction()
    topic.send(b"open")
    chunk = topic.log.read(topic.name, 0, 0, 2, max_bytes=1_000_000)
    assert (chunk.next_offset, chunk.end_offset) == (2, 2)
    topic.producer.abort_transaction()


def test_records_of_an_open_transaction_are_written_and_not_readable(topic: Topic) -> None:
    key = (topic.name, 0)
    topic.commit(b"a")
    topic.wait_for_end(2)
    topic.producer.begin_transaction()
    topic.send(b"open", b"open")
    assert topic.log.end_offsets([key]) == {key: 2}
    assert topic.log.written_offsets([key]) == {key: 4}
    topic.producer.abort_transaction()
    topic.wait_for_end(5)
    assert topic.log.written_offsets([key]) == {key: 5}


def test_a_transaction_that_stays_open_raises_an_alarm_until_it_ends(topic: Topic) -> None:
    key = (topic.name, 0)
    topic.commit(b"a")
    topic.wait_for_end(2)
    now = 0
    transactions = OpenTransactions(topic.log, open_seconds=90, look_seconds=10, clock=lambda: now)
    topic.producer.begin_transaction()
    topic.send(b"open", b"open")
    alarms = []
    with capture_logs() as logs:
        for now in range(0, 121, 10):
            topic.send(b"more")
            alarms += [(now, found) for found in overdue(transactions, topic)]
    assert alarms == [(at, HeldUp(2, 2 + 2 + at // 10 + 1, at, is_overdue=True)) for at in (90, 100, 110, 120)]
    assert [(entry["event"], entry["offset"], entry["seconds"]) for entry in logs] == [
        ("partition.transaction_open", 2, 90),
        ("partition.transaction_open", 2, 120),
    ]
    topic.producer.abort_transaction()
    topic.wait_for_end(2 + 2 + 13 + 1)
    now = 300
    assert transactions.look(topic.log.end_offsets([key])) == {}


def overdue(transactions: OpenTransactions, topic: Topic) -> list[HeldUp]:
    found = transactions.look(topic.log.end_offsets([(topic.name, 0)]))
    assert found is not None
    return [item for item in found.values() if item.is_overdue]


def test_transactions_that_end_raise_no_alarm_however_many_there_are(topic: Topic) -> None:
    clock = iter(range(0, 10_000, 30))
    transactions = OpenTransactions(topic.log, open_seconds=90, look_seconds=10, clock=lambda: next(clock))
    for committed in range(1, 11):
        topic.producer.begin_transaction()
        topic.send(b"open")
        assert overdue(transactions, topic) == []
        topic.producer.commit_transaction()
        topic.wait_for_end(2 * committed)
