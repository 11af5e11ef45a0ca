"""Row 5: the worker and its children are killed at once; nobody is left to say how they died."""

from __future__ import annotations

import time

import pytest

from sentinel.unit import STEADY_SECONDS
from tests.faults.arena import Arenas

pytestmark = pytest.mark.fault

KILLS = 4
# From the kill to the next commit of every partition, the start of its successor included.
BOUND_SECONDS = 5.0


def test_row_05_lost_tasks_of_a_killed_worker_are_sent_again_in_time(arenas: Arenas) -> None:
    with arenas.open(row="05", fault="worker and its children, kill -9") as arena:
        arena.start_load(per_second=1_000)
        for _ in range(KILLS):
            with arena.fault():
                arena.kill("worker")
                arena.wait_until_back("worker")
            # Who crashes sooner waits longer for its restart.
            time.sleep(STEADY_SECONDS)
        figures = arena.finish()
    assert figures.standstill_max_seconds is not None
    assert figures.standstill_max_seconds <= BOUND_SECONDS * arena.slowness
