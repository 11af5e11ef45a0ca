"""Row 4: a bridge does not come round for longer than its group waits, and then goes on as if nothing had been."""

from __future__ import annotations

import pytest

from ingestion.membership import MAX_POLL_INTERVAL_SECONDS
from sentinel.child import wait_until
from tests.faults.arena import Arenas

pytestmark = [pytest.mark.fault, pytest.mark.slow]

SLEEP_SECONDS = MAX_POLL_INTERVAL_SECONDS + 10.0
STEPS = 200
JOIN_SECONDS = 60.0
BOUND_SECONDS = 5.0


def test_row_04_a_slow_bridge_loses_its_partitions_and_applies_nothing_twice(arenas: Arenas) -> None:
    with arenas.open(row="04", fault="bridge asleep for longer than max.poll.interval", roles=["worker"]) as arena:
        # Asleep with cursors and ends of the log that it decides by when it wakes up.
        slow = arena.failpoints(f"after_ends=sleep({SLEEP_SECONDS:g}):nth={STEPS}:once")
        arena.start("bridge", environment=slow)
        arena.start("bridge-2", "bridge")
        arena.start_load(per_second=500, settled=False)
        assert wait_until(lambda: arena.members() == 2, timeout_seconds=JOIN_SECONDS)
        assert wait_until(lambda: bool(arena.hits()), timeout_seconds=JOIN_SECONDS)
        with arena.fault() as fault:
            assert wait_until(lambda: arena.members() == 1, timeout_seconds=SLEEP_SECONDS)
            fault.note("left")
            assert wait_until(lambda: arena.members() == 2, timeout_seconds=SLEEP_SECONDS + JOIN_SECONDS)
            fault.note("joined again")
        figures = arena.finish()
    assert figures.standstill_max_seconds is not None
    assert figures.standstill_max_seconds <= BOUND_SECONDS * arena.slowness
