"""Row 2: a bridge hangs in the middle of a dispatch, another takes over, the first wakes up and goes on."""

from __future__ import annotations

import time

import psutil
import pytest

from sentinel.child import wait_until
from tests.faults.arena import Arenas

pytestmark = pytest.mark.fault

ASLEEP_SECONDS = 4.0
BOUND_SECONDS = 15.0
# What the zombie does next, having decided or having sent, with the world as it was before it fell asleep.
MOMENTS = ["before_dispatch", "before_publish"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_row_02_what_a_zombie_bridge_sends_late_is_not_applied_twice(arenas: Arenas, moment: str) -> None:
    with arenas.open(
        row=f"02-{moment}", fault=f"bridge stopped {moment}, another takes over", roles=["worker"]
    ) as arena:
        armed = arena.failpoints(f"{moment}=freeze:nth=3; after_dispatch=pass; after_publish=pass")
        arena.start("bridge", environment=armed)
        arena.start_load(per_second=1_000, settled=False)
        zombie = psutil.Process(arena.crew.pid("bridge"))
        assert wait_until(lambda: zombie.status() == psutil.STATUS_STOPPED, timeout_seconds=60)
        with arena.fault() as fault:
            arena.start("bridge-2", "bridge")
            fault.back()
        time.sleep(ASLEEP_SECONDS)
        hits_before = len(arena.hits())
        zombie.resume()
        arena.wait_until_all_commit()
        points = [point for _, pid, point in arena.hits()[hits_before:] if pid == zombie.pid]
        figures = arena.finish()
    # What was not marked in the cursor yet is refused there; what was marked names a range that others have ingested.
    if moment == "before_dispatch":
        assert points[0] == "after_dispatch"
        assert points[1:2] != ["after_publish"]
    else:
        assert points[0] == "after_publish"
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness
