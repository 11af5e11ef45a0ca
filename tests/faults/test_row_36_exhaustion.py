"""Row 36: the worker's processes may open no further file, or get no further memory."""

from __future__ import annotations

import resource
from collections.abc import Sequence

import psutil
import pytest

from tests.faults.arena import Arena, Arenas

pytestmark = pytest.mark.fault

STANDARD_STREAMS = (3, 3)
# The memory that a process has, and hardly more.
SPARE_BYTES = 4 * 2**20
BOUND_SECONDS = 10.0


def test_row_36_exhausted_processes_are_replaced_and_lose_nothing(arenas: Arenas) -> None:
    with arenas.open(row="36", fault="no file descriptors, no memory") as arena:
        arena.start_load(per_second=1_000)
        with arena.fault() as fault:
            forbid_files([psutil.Process(arena.crew.pid("worker"))])
            child, phase = arena.busy_child()  # The parent cannot start another.
            child.kill()
            fault.note(phase)
        with arena.fault():
            children = arena.crew.children("worker")
            forbid_files(children)
            terminate_sessions(arena)  # A child cannot open another.
        with arena.fault():
            for child in arena.crew.children("worker"):
                spare = child.memory_info().vms + SPARE_BYTES
                child.rlimit(psutil.RLIMIT_AS, (spare, resource.RLIM_INFINITY))
        exhausted = arena.lines("worker", "worker.exhausted")
        figures = arena.finish()
    assert exhausted
    assert figures.standstill_max_seconds is not None
    assert figures.standstill_max_seconds <= BOUND_SECONDS * arena.slowness


def forbid_files(processes: Sequence[psutil.Process]) -> None:
    """Let these processes open nothing more than what they have open."""
    for process in processes:
        process.rlimit(psutil.RLIMIT_NOFILE, STANDARD_STREAMS)


def terminate_sessions(arena: Arena) -> None:
    """End the database sessions of the worker."""
    arena.witness.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'sentinel-worker'"
    )
