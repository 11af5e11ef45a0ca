"""Row 3: a second bridge joins and leaves under load."""

from __future__ import annotations

import pytest

from sentinel.child import wait_until
from tests.faults.arena import Arenas

pytestmark = pytest.mark.fault

ROUNDS = 10
JOIN_SECONDS = 30.0
# A partition that changes its owner may wait until every bridge serves it.
BOUND_SECONDS = 5.0


def test_row_03_partitions_keep_moving_while_bridges_join_and_leave(arenas: Arenas) -> None:
    with arenas.open(row="03", fault="a second bridge joins and leaves") as arena:
        arena.start_load(per_second=1_000)
        for _ in range(ROUNDS):
            with arena.fault() as fault:
                arena.start("bridge-2", "bridge")
                assert wait_until(lambda: arena.members() == 2, timeout_seconds=JOIN_SECONDS)
                assert arena.crew.stop("bridge-2")
                fault.note("left")
        figures = arena.finish()
    assert figures.standstill_max_seconds is not None
    assert figures.standstill_max_seconds <= BOUND_SECONDS * arena.slowness
