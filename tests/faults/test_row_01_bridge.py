"""Row 1: the bridge is killed again and again."""

from __future__ import annotations

import pytest

from tests.faults.arena import Arenas

pytestmark = pytest.mark.fault

KILLS = 5
BOUND_SECONDS = 5.0


def test_row_01_ingestion_goes_on_as_soon_as_a_killed_bridge_is_back(arenas: Arenas) -> None:
    with arenas.open(row="01", fault="bridge, kill -9") as arena:
        # So little that workers seldom hand a range over to themselves: it is the bridge that sends it.
        arena.start_load(per_second=60)
        for _ in range(KILLS):
            with arena.fault():
                arena.kill("bridge")
                arena.wait_until_back("bridge")
        figures = arena.finish()
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness
