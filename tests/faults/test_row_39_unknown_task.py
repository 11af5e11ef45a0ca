"""Row 39: tasks that nobody knows on the queue, and an old worker on it that knows none of ours."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from sentinel.child import wait_until
from tests.faults.arena import Arena, Arenas
from tests.faults.old_worker import old_application
from tests.faults.servers import REPOSITORY

pytestmark = pytest.mark.fault

UNKNOWN_TASKS = 50
START_SECONDS = 60.0
OLD_WORKER_SECONDS = 5.0
BOUND_SECONDS = 60.0


def test_row_39_what_an_old_worker_drops_is_sent_again(arenas: Arenas) -> None:
    with arenas.open(row="39", fault="unknown tasks, an old worker on the queue") as arena:
        arena.start_load(per_second=1_000)
        with arena.fault() as fault:
            with old_application(arena.environment) as app:
                for _ in range(UNKNOWN_TASKS):
                    app.send_task("sentinel.ingest_range_of_old", [1, 2, 3])
            fault.note("unknown tasks")
        with arena.fault() as fault:
            drops_ours(arena)
            fault.note("old worker")
        figures = arena.finish()
        unknown = arena.lines("worker", "ingest_range_of_old")
        again = arena.lines("bridge", "because=not_started")
    assert unknown
    assert again
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness


def drops_ours(arena: Arena) -> None:
    """Let a worker that knows none of our tasks take them for a while."""
    with (arena.directory / "logs" / "old.log").open("w") as log:
        old = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.old_worker"],
            cwd=REPOSITORY,
            env={**os.environ, **arena.environment},
            stdout=log,
            stderr=log,
        )
        try:
            taken = wait_until(lambda: bool(arena.lines("old", "sentinel.ingest_range")), timeout_seconds=START_SECONDS)
            time.sleep(OLD_WORKER_SECONDS)
        finally:
            old.kill()
            old.wait()
    assert taken, arena.crew.logs()
