"""Row 12: all that Redis holds is deleted while it runs: its run id stays, tasks and baselines are gone."""

from __future__ import annotations

import pytest

from tests.faults.arena import Arenas

pytestmark = pytest.mark.fault

FLUSHES = 4
# A task that vanished without a trace is sent again after four seconds.
BOUND_SECONDS = 5.0


def test_row_12_baselines_that_redis_lost_change_no_score(arenas: Arenas) -> None:
    with arenas.open(row="12", fault="Redis, FLUSHALL") as arena:
        arena.start_load(per_second=1_500)
        with arena.servers.redis_client() as client:
            for _ in range(FLUSHES):
                with arena.fault() as fault:
                    baselines = client.keys(f"sentinel:{arena.name}:baselines:*")
                    client.flushall()
                    fault.note(f"{len(baselines)} partitions' baselines deleted")
                assert len(baselines) == arena.load.partitions
        figures = arena.finish()
    assert figures.anomalies > 100
    assert figures.verdicts_differing == 0
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness
