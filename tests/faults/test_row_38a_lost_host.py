"""Row 38a: the host of a worker is lost in the middle of COPY; its session holds its locks, and no client answers."""

from __future__ import annotations

import time

import psutil
import pytest

from tests.faults.arena import Arena, Arenas

pytestmark = [pytest.mark.fault, pytest.mark.quick]

TIME_LIMIT_SECONDS = 5
# When the bridge ends a session: five seconds after the worker's own time limit.
LEASE_SECONDS = TIME_LIMIT_SECONDS + 5
MARGIN_SECONDS = 5.0
BACKLOG_SECONDS = 8.0
_COPYING = """
    SELECT backend.backend_start FROM pg_stat_activity backend
    JOIN ingestion_partitioncursor c ON c.backend_pid = backend.pid AND c.backend_start = backend.backend_start
    WHERE c.worker LIKE %s AND backend.state = 'active' AND backend.wait_event = 'ClientRead'
      AND backend.query LIKE 'COPY %%'
"""


def test_row_38a_the_session_of_a_host_lost_in_copy_is_ended(arenas: Arenas) -> None:
    limits = {"SENTINEL_TASK_TIME_LIMIT_SECONDS": str(TIME_LIMIT_SECONDS)}
    with arenas.open(row="38a", fault="host lost in COPY", roles=["bridge"], environment=limits) as arena:
        arena.start_load(per_second=1_000, settled=False)
        time.sleep(BACKLOG_SECONDS)  # Large batches take long to copy.
        arena.start("worker", arguments=["--concurrency", "1"])
        lose_in_copy(arena, "worker")
        with arena.fault() as fault:
            arena.start("worker-2", "worker")
            fault.back()
        ended = arena.lines("bridge", "works_too_long")
        arena.resume("worker")
        arena.wait_until_all_commit()
        figures = arena.finish()
    assert len(ended) == 1
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= LEASE_SECONDS + MARGIN_SECONDS * arena.slowness


def lose_in_copy(arena: Arena, name: str) -> None:
    """Stop a worker and its only child for good, at a moment when PostgreSQL waits for the next rows of a COPY."""
    (child,) = arena.crew.children(name)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        child.suspend()
        before = arena.witness.rows(_COPYING, f"%:{child.pid}")
        time.sleep(0.05)
        if before and arena.witness.rows(_COPYING, f"%:{child.pid}") == before:
            arena.suspend(name)
            assert child.status() == psutil.STATUS_STOPPED
            return
        child.resume()
        time.sleep(0.01 + 0.02 * arena.random.random())
    raise AssertionError("no COPY was met")
