"""`sentinel worker` as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.conf import settings

from sentinel.celery import app
from sentinel.child import wait_until
from sentinel.ready import VARIABLE, ReadinessSocket
from tests.services import RedisServer

pytestmark = pytest.mark.slow

START_SECONDS = 60
# Long enough for a growing pause between attempts to be in the middle of a long one.
OUTAGE_SECONDS = 7.0
RECONNECT_BOUND_SECONDS = 3.0
QUEUE = f"sentinel:{settings.SENTINEL_INSTALLATION}:{settings.SENTINEL_QUEUE_INGEST}"


@pytest.fixture
def worker(redis_server: RedisServer, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    readiness = ReadinessSocket(tmp_path / "ready")
    environment = {**os.environ, VARIABLE: str(readiness.path)}
    command = [sys.executable, "-m", "sentinel.cli.main", "worker", "--concurrency", "1"]
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        assert wait_until(readiness.was_notified, timeout_seconds=START_SECONDS), (tmp_path / "worker.log").read_text()
        yield process
    finally:
        process.kill()
        process.wait()
        readiness.close()


def test_a_worker_that_is_asked_to_stop_ends_with_exit_code_zero(worker: subprocess.Popen[bytes]) -> None:
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=30) == 0


def test_a_worker_takes_tasks_soon_after_a_long_outage_of_redis(
    worker: subprocess.Popen[bytes], redis_server: RedisServer
) -> None:
    redis_server.kill()
    time.sleep(OUTAGE_SECONDS)
    redis_server.restart()
    back_at = time.monotonic()
    with redis.Redis.from_url(redis_server.url) as client:
        send_task()
        assert wait_until(lambda: client.llen(QUEUE) == 0, timeout_seconds=30)
        assert time.monotonic() - back_at < RECONNECT_BOUND_SECONDS
        worker.kill()
        # The connection of a worker that was killed a moment ago can still take a task.
        assert wait_until(lambda: not any(seen["cmd"] == "brpop" for seen in client.client_list()), timeout_seconds=10)
        send_task()
        assert client.llen(QUEUE) == 1  # It is the worker that emptied it.


def send_task() -> None:
    app.send_task("sentinel.ingest_range", args=(0, 0, 1, 1), queue=settings.SENTINEL_QUEUE_INGEST)
