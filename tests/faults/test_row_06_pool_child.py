"""Row 6: a child of the worker's pool is killed in the middle of a batch."""

from __future__ import annotations

import pytest

from tests.faults.arena import Arenas

pytestmark = [pytest.mark.fault, pytest.mark.quick]

KILLS = 5
# The aim is one second; a loaded machine takes longer.
BOUND_SECONDS = 5.0


def test_row_06_a_killed_pool_child_holds_nobody_up(arenas: Arenas) -> None:
    with arenas.open(row="06", fault="pool child, kill -9 in a batch") as arena:
        arena.start_load(per_second=1_500)
        for _ in range(KILLS):
            with arena.fault() as fault:
                arena.kill_busy_child(fault)
        figures = arena.finish()
    assert figures.standstill_max_seconds is not None
    assert figures.standstill_max_seconds <= BOUND_SECONDS
