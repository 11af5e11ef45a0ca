"""What reaches a worker besides the ranges it knows: it survives, and takes the next range."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.conf import settings

from ingestion.failpoint import VARIABLE as FAILPOINTS
from sentinel.celery import app
from sentinel.child import wait_until
from tests.sentinel.pipeline.conftest import Partition, event, partition
from tests.sentinel.running_worker import QUEUE, RunningWorker, dispatch_all, running_worker

__all__ = ["partition"]  # the fixture

pytestmark = pytest.mark.slow

# A task that runs out of memory where no boundary of ours catches it.
EXHAUSTED = """
from django.conf import settings
from sentinel.celery import app

@app.task(name="tests.exhausted")
def exhausted():
    raise MemoryError("no memory left")
"""


@pytest.fixture
def worker(partition: Partition, redis_url: str, tmp_path: Path) -> Iterator[RunningWorker]:
    environment = {"DJANGO_SETTINGS_MODULE": "sentinel.settings"}
    with running_worker(tmp_path, environment=environment, preamble=EXHAUSTED) as found:
        yield found


def send(name: str, *arguments: object) -> None:
    app.send_task(name, args=arguments, queue=settings.SENTINEL_QUEUE_INGEST)


def ingests_the_next_range(worker: RunningWorker, partition: Partition) -> bool:
    """Say whether the same processes as before ingest another record."""
    partition.append(event(partition.end))
    dispatch_all(partition)
    return wait_until(lambda: partition.cursor.next_offset == partition.end, timeout_seconds=10) and (
        worker.process.poll() is None
    )


def test_a_task_that_runs_out_of_memory_ends_neither_worker_nor_process(
    worker: RunningWorker, partition: Partition
) -> None:
    children = {child.pid for child in worker.children()}
    send("tests.exhausted")
    assert wait_until(lambda: "task.out_of_memory" in worker.log, timeout_seconds=10), worker.log
    assert ingests_the_next_range(worker, partition), worker.log
    assert {child.pid for child in worker.children()} == children


def test_a_range_that_runs_out_of_memory_before_its_attempt_is_logged(
    partition: Partition, redis_url: str, tmp_path: Path
) -> None:
    with running_worker(tmp_path, environment={FAILPOINTS: "before_lock=memory:nth=1"}) as worker:
        partition.append(event())
        dispatch_all(partition)
        assert wait_until(lambda: "ingest.failed" in worker.log, timeout_seconds=10), worker.log
        assert "MemoryError" in worker.log
        assert ingests_the_next_range(worker, partition), worker.log


def test_what_a_worker_cannot_use_is_dropped(worker: RunningWorker, partition: Partition, redis_url: str) -> None:
    send("sentinel.of_another_version", 1)
    assert ingests_the_next_range(worker, partition), worker.log
    assert "sentinel.of_another_version" in worker.log
    send("sentinel.ingest_range", "not a cursor")
    assert ingests_the_next_range(worker, partition), worker.log
    for body in ("", "bm8ganNvbg=="):  # nothing, and what is not JSON
        push(redis_url, json.dumps(message(body)))
        assert ingests_the_next_range(worker, partition), worker.log


def push(redis_url: str, text: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.lpush(QUEUE, text)


def message(body: str) -> dict[str, object]:
    """Return a message for `sentinel.ingest_range` as kombu writes it."""
    identity = str(uuid.uuid4())
    return {
        "body": body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": "sentinel.ingest_range", "id": identity, "root_id": identity},
        "properties": {
            "correlation_id": identity,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": settings.SENTINEL_QUEUE_INGEST},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }
