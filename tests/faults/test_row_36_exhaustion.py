"""Row 36: the worker's processes may open no further file, or get no further memory."""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Sequence
from itertools import pairwise

import psutil
import pytest

from sentinel.exhaustion import EXIT_CODE, Resource
from tests.faults.arena import Arena, Arenas

pytestmark = pytest.mark.fault

STANDARD_STREAMS = (3, 3)
# So much waits for a process without memory that what it has kept will not do.
BACKLOG_SECONDS = 3.0
ENDED_SECONDS = 30.0
BOUND_SECONDS = 10.0


def test_row_36_exhausted_processes_are_replaced_and_lose_nothing(arenas: Arenas) -> None:
    with arenas.open(row="36", fault="no file descriptors, no memory") as arena:
        arena.start_load(per_second=1_000)
        parents = [arena.crew.pid("worker")]
        with arena.fault() as fault:
            forbid_files([psutil.Process(parents[0])])
            child, phase = arena.busy_child()  # The parent cannot start another.
            child.kill()
            fault.note(phase)
            assert_ended(arena, [psutil.Process(parents[0])])
        parents.append(arena.crew.pid("worker"))
        assert arena.lines("worker", "Too many open files")
        assert said(arena) == []
        for what, exhaust in ((Resource.FILE_DESCRIPTORS, forbid_sessions), (Resource.MEMORY, forbid_memory)):
            children = arena.crew.children("worker")
            told = len(said(arena))
            with arena.fault() as fault:
                exhaust(arena, children)
                assert_ended(arena, children)
                fault.note(said(arena)[told:])
            parents.append(arena.crew.pid("worker"))
            assert_said(said(arena)[told:], what, children)
        exits = arena.lines("worker", f"exitcode {EXIT_CODE}")
        ends = [(end.pid, end.reason) for end in arena.crew.ends]
        figures = arena.finish()
    assert exits
    # Each time the worker as a whole came to a clean end, and another was started.
    assert ends == [(pid, "exit code 0") for pid in parents[:-1]]
    assert all(before != after for before, after in pairwise(parents))
    assert figures.standstill_max_seconds is not None
    assert figures.standstill_max_seconds <= BOUND_SECONDS * arena.slowness


def forbid_files(processes: Sequence[psutil.Process]) -> None:
    """Let these processes open nothing more than what they have open."""
    for process in processes:
        process.rlimit(psutil.RLIMIT_NOFILE, STANDARD_STREAMS)


def forbid_sessions(arena: Arena, children: Sequence[psutil.Process]) -> None:
    """End the database sessions of the worker, whose children may open no others."""
    forbid_files(children)
    arena.witness.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'sentinel-worker'"
    )


def forbid_memory(arena: Arena, children: Sequence[psutil.Process]) -> None:
    """Let these processes get no more memory than what they have, and have them ingest more than before."""
    arena.suspend("worker")
    for child in children:
        child.rlimit(psutil.RLIMIT_AS, (child.memory_info().vms, resource.RLIM_INFINITY))
    time.sleep(BACKLOG_SECONDS)
    arena.resume("worker")


def assert_ended(arena: Arena, processes: Sequence[psutil.Process]) -> None:
    """Wait until all of these have ended and another worker is ready."""
    _, alive = psutil.wait_procs(processes, timeout=ENDED_SECONDS * arena.slowness)
    assert not alive
    arena.wait_until_back("worker")


def said(arena: Arena) -> list[tuple[str, int]]:
    """Return what processes of the worker have said to lack, with their pids."""
    found = (re.search(r"pid=(\d+) resource=(\w+)", line) for line in arena.lines("worker", "worker.exhausted"))
    return [(match[2], int(match[1])) for match in found if match]


def assert_said(told: Sequence[tuple[str, int]], what: Resource, children: Sequence[psutil.Process]) -> None:
    """Check that processes have ended for want of this, each of them one that was denied it."""
    assert told
    assert {lacked for lacked, _ in told} == {what.value}
    assert {pid for _, pid in told} <= {child.pid for child in children}
