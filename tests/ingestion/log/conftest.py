"""A topic on the real Kafka, and what its administrators and producers do to it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from ingestion.log.base import Chunk
from ingestion.log.kafka import KafkaLog
from tests.services import KafkaBroker


def new_log(brokers: str, *, request_timeout_seconds: float = 10) -> KafkaLog:
    return KafkaLog(brokers.split(","), security={}, request_timeout_seconds=request_timeout_seconds)


@dataclass
class KafkaTopic:
    """A topic of one partition, if nothing else is said; clients are made when first needed."""

    brokers: str
    name: str = field(default_factory=lambda: f"log-{uuid.uuid4()}")
    partitions: int = 1

    def __post_init__(self) -> None:
        self.log = new_log(self.brokers)
        self.admin: Any = KafkaAdminClient(bootstrap_servers=self.brokers)
        self._producer: Any = None
        self.create()

    def create(self, *, partitions: int | None = None, configs: Mapping[str, str] | None = None) -> None:
        """Create the topic, once a deleted one of this name is gone."""
        spec = {
            "num_partitions": partitions or self.partitions,
            "replication_factor": 1,
            "configs": dict(configs or {}),
        }
        deadline = time.monotonic() + 10
        while True:
            try:
                self.admin.create_topics({self.name: spec})
                break
            except KafkaError:
                assert time.monotonic() < deadline, "the topic could not be created"
                time.sleep(0.05)
        self._wait(exists=True)

    def delete(self) -> None:
        self.admin.delete_topics([self.name])
        self._wait(exists=False)

    def recreate(self, *, partitions: int | None = None) -> None:
        self.delete()
        self.create(partitions=partitions)

    def _wait(self, *, exists: bool) -> None:
        deadline = time.monotonic() + 10
        while any(topic["error_code"] == 0 for topic in self.admin.describe_topics([self.name])) != exists:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def append(self, *values: bytes | None, partition: int = 0, headers: Sequence[Any] = (), **options: Any) -> None:
        """Append by a producer of its own where options are given."""
        producer = KafkaProducer(bootstrap_servers=self.brokers, **options) if options else self._plain_producer()
        for value in values:
            producer.send(self.name, key=b"k", value=value, partition=partition, headers=list(headers))
        producer.flush()
        if options:
            producer.close()

    def _plain_producer(self) -> Any:
        if self._producer is None:
            self._producer = KafkaProducer(bootstrap_servers=self.brokers, metadata_max_age_ms=500)
        return self._producer

    def transactional_producer(self, **options: Any) -> Any:
        """Return a producer that has begun no transaction yet; its caller closes it."""
        producer = KafkaProducer(bootstrap_servers=self.brokers, transactional_id=str(uuid.uuid4()), **options)
        producer.init_transactions()
        return producer

    def delete_records(self, before: int, *, partition: int = 0) -> None:
        self.admin.delete_records({TopicPartition(self.name, partition): before})

    def read(self, start: int, end: int, *, partition: int = 0, max_bytes: int = 100_000_000) -> Chunk:
        return self.log.read(self.name, partition, start, end, max_bytes=max_bytes)

    def end(self, partition: int = 0) -> int:
        return self.log.end_offsets([(self.name, partition)])[(self.name, partition)]

    def wait_for_end(self, end: int) -> None:
        """Wait until the marker of the last transaction is written."""
        deadline = time.monotonic() + 10
        while self.end() < end and time.monotonic() < deadline:
            time.sleep(0.05)
        assert self.end() == end

    def close(self) -> None:
        """Close the clients; may be called again."""
        self.log.close()
        self.admin.close()
        if self._producer is not None:
            self._producer.close()


@pytest.fixture
def topic(kafka: KafkaBroker) -> Iterator[KafkaTopic]:
    found = KafkaTopic(kafka.brokers)
    yield found
    found.close()
