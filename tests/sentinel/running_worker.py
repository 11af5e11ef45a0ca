"""`sentinel worker` as a process group of its own, on the test database and the log in PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import psutil
import redis
from django.conf import settings
from django.db import connection

from ingestion import cursor as cursors
from ingestion.cursor import Dispatch
from ingestion.deaths import worker_name
from sentinel.child import wait_until
from sentinel.hints import send_range
from sentinel.ready import VARIABLE, ReadinessSocket
from tests.sentinel.pipeline.conftest import Partition

START_SECONDS = 60
START = "\nfrom sentinel.cli.main import main\nraise SystemExit(main())\n"
QUEUE = f"sentinel:{settings.SENTINEL_INSTALLATION}:{settings.SENTINEL_QUEUE_INGEST}"


@dataclass(frozen=True)
class RunningWorker:
    """The worker's parent, and what its process group has written so far."""

    process: subprocess.Popen[bytes]
    log_path: Path
    concurrency: int

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def children(self) -> list[psutil.Process]:
        """Return the processes of the pool; what reports a death is gone within moments."""
        found = psutil.Process(self.process.pid).children()
        return [child for child in found if child.status() != psutil.STATUS_ZOMBIE]

    def child_on(self, partition: Partition) -> psutil.Process | None:
        """Return the process that has started on the partition's range, if it is one of this worker."""
        cursor = partition.cursor
        if cursor.started_at is None:
            return None
        return next((child for child in self.children() if worker_name(pid=child.pid) == cursor.worker), None)

    def busy_child(self, partition: Partition) -> psutil.Process:
        """Wait until one of the processes has started on the partition's range and return it."""
        found: list[psutil.Process] = []

        def is_busy() -> bool:
            found.extend(child for child in [self.child_on(partition)] if child is not None)
            return bool(found)

        assert wait_until(is_busy, timeout_seconds=20, poll_seconds=0.005), self.log
        return found[0]

    def signal_group(self, number: signal.Signals) -> None:
        """Send what a deploy sends: to the parent and its children alike."""
        os.killpg(self.process.pid, number)

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def has_full_pool(self) -> bool:
        return len(self.children()) == self.concurrency


def database_url() -> str:
    """Return the URL of the database that the tests use now."""
    values = connection.settings_dict
    query = urlencode({"host": values["HOST"], "port": values["PORT"]})
    return f"postgresql://{quote(values['USER'])}:{quote(values['PASSWORD'])}@/{quote(values['NAME'])}?{query}"


@contextmanager
def running_worker(
    directory: Path, *, concurrency: int = 1, environment: Mapping[str, str] | None = None, preamble: str = ""
) -> Iterator[RunningWorker]:
    """Run a worker while the block runs.

    `environment` goes on top of the tests' own; `preamble` is Python that the worker runs before it starts.
    """
    directory.mkdir(exist_ok=True)
    readiness = ReadinessSocket(directory / "ready")
    variables = {"DATABASE_URL": database_url(), "SENTINEL_BROKERS": "", VARIABLE: str(readiness.path)}
    command = [sys.executable, "-c", preamble + START, "worker", "--concurrency", str(concurrency)]
    log_path = directory / "worker.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, **variables, **(environment or {})},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    worker = RunningWorker(process, log_path, concurrency)
    try:
        assert wait_until(lambda: readiness.was_notified() or worker.has_ended(), timeout_seconds=START_SECONDS)
        assert not worker.has_ended(), worker.log
        yield worker
    finally:
        if process.poll() is None:
            worker.signal_group(signal.SIGKILL)
        process.wait()
        readiness.close()


def dispatch_all(partition: Partition) -> Dispatch:
    """Queue everything that the partition still holds as one range, as the bridge does."""
    task = cursors.dispatch(partition.cursor, end=partition.end)
    assert task is not None
    send_range(task)
    return task


def queued(redis_url: str) -> int:
    """Return how many ranges no worker has taken yet."""
    with redis.Redis.from_url(redis_url) as client:
        length = client.llen(QUEUE)
        assert isinstance(length, int)
        return length
