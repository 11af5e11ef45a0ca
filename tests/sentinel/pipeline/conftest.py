"""A partition of the PostgreSQL log and a pipeline on it, without Celery: tests decide who runs when."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection

from detection.baselines import BaselineStore
from ingestion import cursor as cursors
from ingestion.cursor import Dispatch
from ingestion.log.base import Log, NewRecord
from ingestion.log.postgres import PostgresLog, append_now, create_topics
from ingestion.models import PartitionCursor, Project, Topic
from ingestion.partitions import ensure_partitions
from sentinel.outcome import Outcome
from sentinel.pipeline import Pipeline


@dataclass
class Partition:
    """Partition 0 of a fresh topic: records without a key go there."""

    cursor_id: int
    topic: str
    log: PostgresLog = field(default_factory=PostgresLog)

    @property
    def cursor(self) -> PartitionCursor:
        return PartitionCursor.objects.get(pk=self.cursor_id)

    def append(self, *payloads: bytes) -> None:
        for start in range(0, len(payloads), 1000):
            append_now(self.topic, [NewRecord(None, payload) for payload in payloads[start : start + 1000]])

    @property
    def end(self) -> int:
        return self.log.end_offsets([(self.topic, 0)])[(self.topic, 0)]


@dataclass
class Worker:
    """One worker process's pipeline; `drain` is a bridge that sends everything to it."""

    pipeline: Pipeline
    sent: list[Dispatch]

    def drain(self, partition: Partition, *, batch_records: int, until: int | None = None) -> list[Outcome]:
        outcomes = []
        end = until if until is not None else partition.end
        while (cursor := partition.cursor).next_offset < end:
            task = cursors.dispatch(cursor, end=min(end, cursor.next_offset + batch_records))
            assert task is not None
            outcomes.append(self.pipeline.ingest(task))
            assert len(outcomes) < 20 or outcomes[-20:] != [outcomes[-1]] * 20 or outcomes[-1] is Outcome.COMMITTED
        return outcomes


def new_partition() -> Partition:
    topic = f"pipeline-{uuid.uuid4()}"
    project = Project.objects.create(slug=topic, name=topic)
    Topic.objects.create(name=topic, project=project)
    create_topics([topic])
    found = PostgresLog().partitions([topic])[0]
    cursor = PartitionCursor.objects.create(
        project=project, cluster_id=found.cluster_id, topic_id=found.topic_id, topic=topic, partition=0
    )
    return Partition(cursor.pk, topic)


def new_worker(*, log: Log | None = None, build: str | None = None) -> Worker:
    sent: list[Dispatch] = []
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2)
    pipeline = Pipeline(log=log or PostgresLog(), baselines=BaselineStore(client), send=sent.append, build=build)
    return Worker(pipeline, sent)


@pytest.fixture
def partition(transactional_db: None) -> Partition:
    ensure_partitions()
    return new_partition()


@pytest.fixture
def worker(partition: Partition, redis_url: str) -> Worker:
    return new_worker()


NOW = datetime.now(UTC).replace(microsecond=0)


def event(number: int = 0, **fields: Any) -> bytes:
    """Return a valid event; the same number gives the same id and time."""
    rng = random.Random(number)
    body = {
        "event_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "timestamp": (NOW - timedelta(minutes=20) + timedelta(milliseconds=40 * number)).isoformat(),
        "service_name": f"service-{number % 3}",
        "model": "gpt-4o",
        "prompt": {"text": f"question {number}", "tokens": rng.randint(50, 150)},
        "response": {"text": f"answer {number}", "tokens": rng.randint(20, 80), "finish_reason": "stop"},
        "latency_ms": round(rng.lognormvariate(6, 0.3) * (8 if number % 97 == 0 else 1), 3),
        "cost_usd": round(rng.uniform(0.001, 0.002) * (9 if number % 211 == 0 else 1), 6),
        "metadata": {"region": "eu"},
        "errors": [],
        **fields,
    }
    return json.dumps(body).encode()


def rows(table: str, columns: str, partition: Partition, order: str) -> Sequence[tuple[Any, ...]]:
    """Return what a table holds of a partition's project."""
    with connection.cursor() as sql:
        sql.execute(
            f"SELECT {columns} FROM {table} WHERE project_id = %s ORDER BY {order}", [partition.cursor.project_id]
        )
        return list(sql.fetchall())


@pytest.fixture
def two_workers(worker: Worker, redis_url: str) -> tuple[Worker, Worker]:
    return worker, new_worker()
