"""Bridge and pipeline on a real Kafka, in one process: what happens to the log under a cursor is noticed and recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection
from kafka import KafkaProducer
from structlog.testing import capture_logs

from detection.baselines import BaselineStore
from ingestion import cursor as cursors
from ingestion.bridge import Bridge, BridgeLimits
from ingestion.condition import Condition, State
from ingestion.cursor import Dispatch
from ingestion.log.kafka import KafkaLog
from ingestion.membership import Alone
from ingestion.models import Batch, DeadLetter, Event, Gap, GapReason, HaltReason, PartitionCursor, Project, Topic
from ingestion.partitions import ensure_partitions
from ingestion.survey import survey
from sentinel.outcome import Outcome
from sentinel.pipeline import Pipeline
from sentinel.services.base import run_service
from sentinel.services.kafka import Kafka
from tests.ingestion.log.conftest import KafkaTopic, new_log
from tests.sentinel.pipeline.conftest import event

BATCH = 100


class Mill:
    """A bridge and a worker that take turns, and what each partition's cursor says."""

    def __init__(self, topic: KafkaTopic) -> None:
        ensure_partitions()
        self.topic = topic
        self.project = Project.objects.create(slug=topic.name, name=topic.name)
        Topic.objects.create(name=topic.name, project=self.project)
        self.sent: list[Dispatch] = []
        self.outcomes: list[Outcome] = []
        self.bridge = self.new_bridge(new_log(topic.brokers))
        self.pipeline = self.new_pipeline(new_log(topic.brokers))
        self.bridge.step()

    def new_bridge(self, log: KafkaLog, *, transaction_open_seconds: float = 90.0) -> Bridge:
        return Bridge(
            log=log,
            membership=Alone(),
            send=self.sent.append,
            broker_generation=lambda: "the same",
            limits=BridgeLimits(
                batch_records=BATCH,
                hard_limit_seconds=60,
                discovery_seconds=1,
                transaction_open_seconds=transaction_open_seconds,
            ),
        )

    def new_pipeline(self, log: KafkaLog) -> Pipeline:
        client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2)
        return Pipeline(log=log, baselines=BaselineStore(client), send=self.sent.append)

    def step(self) -> None:
        self.bridge.step()
        while self.sent:
            self.outcomes.append(self.pipeline.ingest(self.sent.pop(0)))

    def run_until(self, done: Callable[[], bool], *, seconds: float = 20) -> float:
        """Let both work until `done`; return how long it took."""
        begun = time.monotonic()
        while not done():
            assert time.monotonic() - begun < seconds, (
                f"not within {seconds} s: {self.outcomes[-5:]}, {self.describe()}"
            )
            self.step()
        return time.monotonic() - begun

    def describe(self) -> list[tuple[Any, ...]]:
        return [(str(row), row.next_offset, row.last_error, row.halted_reason) for row in self.cursors]

    def dispatch(self) -> Dispatch:
        """Let the bridge send one range that no worker takes yet."""
        self.bridge.step()
        assert self.sent
        return self.sent.pop(0)

    @property
    def cursors(self) -> list[PartitionCursor]:
        return list(PartitionCursor.objects.filter(topic=self.topic.name).order_by("pk"))

    @property
    def cursor(self) -> PartitionCursor:
        return self.cursors[0]

    @property
    def condition(self) -> Condition:
        with connection.cursor() as sql:
            return next(item for item in survey(sql) if item.cursor_id == self.cursor.pk)

    @property
    def stored(self) -> int:
        return Event.objects.filter(project=self.project).count()

    def close(self) -> None:
        self.bridge.close()
        self.pipeline.close()


class RecreatedMeanwhile(KafkaLog):
    """The log of a topic that is deleted and created again after its partitions were listed."""

    def __init__(self, topic: KafkaTopic) -> None:
        super().__init__(topic.brokers.split(","), security={}, request_timeout_seconds=10)
        self._topic: KafkaTopic | None = topic

    def end_offsets(self, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        if self._topic is not None:
            self._topic.recreate()
            self._topic = None
        return super().end_offsets(partitions)


@pytest.fixture
def mill(transactional_db: None, redis_url: str, topic: KafkaTopic) -> Iterator[Mill]:
    found = Mill(topic)
    yield found
    found.close()


def events(start: int, end: int) -> list[bytes]:
    return [event(number) for number in range(start, end)]


def test_retention_that_passed_the_cursor_leaves_a_gap_with_the_exact_range_and_goes_on(mill: Mill) -> None:
    mill.topic.append(*events(0, 10))
    mill.run_until(lambda: mill.stored == 10)
    mill.topic.append(*events(10, 60))
    mill.topic.delete_records(42)
    with capture_logs() as logs:
        mill.run_until(lambda: mill.cursor.next_offset == 60)
    (gap,) = Gap.objects.filter(cursor=mill.cursor)
    assert (gap.start_offset, gap.end_offset, gap.reason) == (10, 42, GapReason.RETENTION)
    (alarm,) = [entry for entry in logs if entry["event"] == "partition.gap"]
    assert (alarm["start"], alarm["end"], alarm["lost"]) == (10, 42, 32)
    assert mill.stored == 28
    assert not mill.cursor.halted_reason


def test_an_attempt_whose_range_retention_took_ends_and_the_gap_follows(mill: Mill) -> None:
    mill.topic.append(*events(0, 50))
    task = mill.dispatch()
    mill.topic.delete_records(42)
    assert mill.pipeline.ingest(task) is Outcome.OFFSET_OUT_OF_RANGE
    mill.run_until(lambda: mill.cursor.next_offset == 50)
    (gap,) = Gap.objects.filter(cursor=mill.cursor)
    assert (gap.start_offset, gap.end_offset) == (0, 42)


def test_retention_that_took_the_anchor_only_is_no_gap(mill: Mill) -> None:
    mill.topic.append(*events(0, 10))
    mill.run_until(lambda: mill.stored == 10)
    mill.topic.append(*events(10, 20))
    mill.topic.delete_records(10)
    mill.run_until(lambda: mill.stored == 20)
    assert not Gap.objects.filter(cursor=mill.cursor).exists()


def test_a_recreated_topic_is_read_from_its_beginning_and_the_old_cursor_closed(mill: Mill) -> None:
    mill.topic.append(*events(0, 10))
    mill.run_until(lambda: mill.stored == 10)
    mill.topic.append(*events(10, 25))
    mill.dispatch()
    mill.topic.recreate()
    mill.topic.append(*events(30, 33))
    with capture_logs() as logs:
        mill.run_until(lambda: len(mill.cursors) == 2 and mill.cursors[1].next_offset == 3)
    old, _ = mill.cursors
    assert old.closed_at is not None
    (gap,) = Gap.objects.filter(cursor=old)
    assert (gap.start_offset, gap.end_offset, gap.reason) == (10, 25, GapReason.TOPIC_RECREATED)
    assert [entry["event"] for entry in logs].count("partition.closed") == 1
    assert mill.stored == 13


def test_a_topic_recreated_between_two_looks_leaves_a_gap_up_to_its_own_end(mill: Mill) -> None:
    mill.topic.append(*events(0, 10))
    mill.run_until(lambda: mill.stored == 10)
    mill.topic.append(*events(10, 25))
    mill.dispatch()
    assert mill.cursor.log_end == 25
    # A bridge asks for the ends of the topic that it knows, and gets those of the one in its place.
    bridge = mill.new_bridge(RecreatedMeanwhile(mill.topic))
    bridge.step()
    bridge.close()
    mill.run_until(lambda: len(mill.cursors) == 2)
    (gap,) = Gap.objects.filter(cursor=mill.cursor)
    assert (gap.start_offset, gap.end_offset, gap.reason) == (10, 25, GapReason.TOPIC_RECREATED)


def test_a_topic_recreated_with_fewer_partitions_closes_what_is_gone(
    transactional_db: None, redis_url: str, kafka: Any
) -> None:
    topic = KafkaTopic(kafka.brokers, partitions=3)
    mill = Mill(topic)
    for partition in range(3):
        topic.append(*events(10 * partition, 10 * partition + 5), partition=partition)
    mill.run_until(lambda: mill.stored == 15)
    topic.recreate(partitions=1)
    topic.append(*events(50, 52))
    mill.run_until(lambda: mill.stored == 17)
    assert [row.closed_at is not None for row in mill.cursors] == [True, True, True, False]
    mill.close()
    topic.close()


def test_new_partitions_are_read_from_their_beginning_within_seconds(
    transactional_db: None, redis_url: str, kafka: Any
) -> None:
    topic = KafkaTopic(kafka.brokers, partitions=4)
    mill = Mill(topic)
    topic.append(*events(0, 5))
    mill.run_until(lambda: mill.stored == 5)
    topic.admin.create_partitions({topic.name: 8})
    time.sleep(0.5)
    for partition in range(4, 8):
        topic.append(*events(10 * partition, 10 * partition + 3), partition=partition, linger_ms=0)
    # Discovery waits for 1 s here, for 5 s outside tests.
    assert mill.run_until(lambda: mill.stored == 17) < 6
    assert sorted(row.partition for row in mill.cursors) == list(range(8))
    mill.close()
    topic.close()


def test_counts_are_exact_with_transactions_and_every_codec(mill: Mill) -> None:
    number = 0
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        producer = mill.topic.transactional_producer(compression_type=codec)
        for commits in (True, False, True):
            producer.begin_transaction()
            for _ in range(60):
                producer.send(mill.topic.name, value=event(number), partition=0)
                number += commits
            producer.flush()
            (producer.commit_transaction if commits else producer.abort_transaction)()
        producer.close()
    mill.topic.wait_for_end(4 * 3 * 61)
    mill.run_until(lambda: mill.cursor.next_offset == 4 * 3 * 61)
    assert mill.stored == number == 480
    batches = list(Batch.objects.filter(cursor=mill.cursor).order_by("start_offset"))
    assert sum(batch.control for batch in batches) == 4 * (60 + 3)
    assert sum(batch.stored for batch in batches) == 480
    assert [batch.start_offset for batch in batches[1:]] == [batch.end_offset for batch in batches[:-1]]
    assert not any(batch.duplicates or batch.rejected or batch.late for batch in batches)
    assert set(mill.outcomes) == {Outcome.COMMITTED}


def test_a_range_of_nothing_but_aborted_records_and_markers_is_passed(mill: Mill) -> None:
    producer = mill.topic.transactional_producer()
    for _ in range(3):
        producer.begin_transaction()
        for number in range(150):
            producer.send(mill.topic.name, value=event(number), partition=0)
        producer.flush()
        producer.abort_transaction()
    producer.close()
    mill.topic.wait_for_end(453)
    mill.run_until(lambda: mill.cursor.next_offset == 453)
    assert mill.stored == 0
    mill.topic.append(event(1))
    mill.run_until(lambda: mill.stored == 1)
    assert set(mill.outcomes) == {Outcome.COMMITTED}


def test_records_without_a_value_and_large_ones_are_set_aside_alone(mill: Mill) -> None:
    large = event(7, metadata={"filler": "x" * 1_890_000})
    mill.topic.append(event(1), None, event(2), large, event(3), max_request_size=2_000_000)
    mill.run_until(lambda: mill.cursor.next_offset == 5)
    assert mill.stored == 3
    rejected = DeadLetter.objects.filter(cursor=mill.cursor).order_by("log_offset")
    assert [(row.log_offset, row.reason) for row in rejected] == [(1, "not_json"), (3, "too_large")]


# --- the log is another one ---------------------------------------------------------------------------------------


def test_a_topic_recreated_between_dispatch_and_read_stores_nothing(mill: Mill) -> None:
    mill.topic.append(*events(0, 10))
    mill.run_until(lambda: mill.stored == 10)
    mill.topic.append(*events(10, 20))
    task = mill.dispatch()
    mill.topic.recreate()
    mill.topic.append(*events(40, 70))
    assert mill.pipeline.ingest(task) is Outcome.HALTED
    assert mill.cursor.halted_because == HaltReason.LOG_REPLACED
    assert mill.stored == 10


def test_a_topic_recreated_before_its_first_batch_stores_nothing(mill: Mill) -> None:
    mill.topic.append(*events(0, 10))
    task = mill.dispatch()
    mill.topic.recreate()
    mill.topic.append(*events(40, 70))
    assert mill.pipeline.ingest(task) is Outcome.HALTED
    assert mill.stored == 0


def test_a_recreated_and_shorter_topic_stores_nothing(mill: Mill) -> None:
    mill.topic.append(*events(0, 10))
    mill.run_until(lambda: mill.stored == 10)
    mill.topic.append(*events(10, 20))
    task = mill.dispatch()
    mill.topic.recreate()
    mill.topic.append(*events(40, 42))
    assert mill.pipeline.ingest(task) is Outcome.HALTED
    assert mill.stored == 10


def test_what_a_worker_halted_for_a_recreated_topic_the_bridge_closes(mill: Mill) -> None:
    test_a_topic_recreated_between_dispatch_and_read_stores_nothing(mill)
    mill.run_until(lambda: len(mill.cursors) == 2 and mill.cursors[1].next_offset == 30)
    assert mill.cursors[0].closed_at is not None
    assert mill.stored == 40


@pytest.fixture
def other_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory: Path = tmp_path_factory.mktemp("kafka")
    service = Kafka(directory)
    child = run_service(service, log_directory=directory)
    yield service.url
    child.kill()


@pytest.mark.slow
def test_a_worker_that_reads_from_another_cluster_halts_and_stores_nothing(mill: Mill, other_cluster: str) -> None:
    mill.topic.append(*events(0, 10))
    mill.run_until(lambda: mill.stored == 10)
    elsewhere = KafkaTopic(other_cluster, name=mill.topic.name)
    elsewhere.append(*events(40, 70))
    mill.topic.append(*events(10, 20))
    astray = mill.new_pipeline(new_log(other_cluster))
    assert astray.ingest(mill.dispatch()) is Outcome.HALTED
    assert "cluster" in mill.cursor.halted_reason or "not the one" in mill.cursor.halted_reason
    assert mill.stored == 10
    astray.close()

    bridge = mill.new_bridge(new_log(other_cluster))
    bridge.step()
    assert mill.sent == []
    assert len(mill.cursors) == 1
    bridge.close()
    elsewhere.close()


@pytest.mark.slow
def test_a_bridge_on_another_cluster_halts_the_cursors_and_sends_nothing(mill: Mill, other_cluster: str) -> None:
    mill.topic.append(*events(0, 10))
    mill.run_until(lambda: mill.stored == 10)
    elsewhere = KafkaTopic(other_cluster, name=mill.topic.name)
    elsewhere.append(*events(40, 70))
    bridge = mill.new_bridge(new_log(other_cluster))
    bridge.step()
    assert mill.cursor.halted_because == HaltReason.OTHER_CLUSTER
    assert (mill.sent, len(mill.cursors)) == ([], 1)
    bridge.close()
    elsewhere.close()


def test_a_dispatch_from_before_a_close_can_no_longer_start(mill: Mill) -> None:
    mill.topic.append(*events(0, 10))
    task = mill.dispatch()
    mill.topic.recreate()
    mill.run_until(lambda: mill.cursor.closed_at is not None)
    assert cursors.start_attempt(task) is None
    assert mill.pipeline.ingest(task) is Outcome.STALE


@pytest.fixture
def open_transaction(mill: Mill) -> Iterator[Any]:
    """Give a producer that has written one record of a transaction, behind which others have written two."""
    producer = KafkaProducer(bootstrap_servers=mill.topic.brokers.split(","), transactional_id=mill.topic.name)
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(mill.topic.name, value=event(0), partition=0)
    producer.flush()
    mill.topic.append(*events(1, 3))
    yield producer
    producer.close()


def test_a_partition_behind_an_open_transaction_is_stuck_until_it_ends_and_then_goes_on(
    mill: Mill, open_transaction: Any
) -> None:
    with closing(new_log(mill.topic.brokers)) as log:
        mill.new_bridge(log, transaction_open_seconds=0).step()
        found = mill.condition
        assert (found.state, found.lag, found.runbook) == (State.STUCK, 3, "transaction-open")
        open_transaction.abort_transaction()
        mill.run_until(lambda: mill.stored == 2)
        assert mill.condition.state is not State.STUCK
        mill.new_bridge(log).step()
    assert (mill.cursor.held_up_since, mill.cursor.held_up_offset, mill.cursor.held_up_end) == (None, None, None)
