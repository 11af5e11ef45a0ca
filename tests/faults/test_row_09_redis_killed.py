"""Row 9: Redis is killed and comes back empty: queued tasks, baselines and its run id are gone."""

from __future__ import annotations

import time

import pytest

from ingestion.dispatch import NOT_STARTED_SECONDS
from tests.faults.arena import Arenas

pytestmark = pytest.mark.fault

# How long it is away, and how often.
OUTAGES = [
    pytest.param(0.1, 4, id="0.1s"),
    pytest.param(5.0, 2, id="5s"),
    pytest.param(30.0, 1, id="30s", marks=pytest.mark.slow),
]
# Less than a lost task waits for: it is the new run id of Redis that has them sent again.
BOUND_SECONDS = 2.5
RESTARTED = "because=broker_restarted"


@pytest.mark.parametrize(("away_seconds", "times"), OUTAGES)
def test_row_09_a_redis_that_comes_back_empty_is_noticed_at_once(
    arenas: Arenas, away_seconds: float, times: int
) -> None:
    with arenas.open(
        row=f"09-{away_seconds:g}s", fault=f"Redis, kill -9, back empty after {away_seconds:g} s"
    ) as arena:
        arena.start_load(per_second=1_500)
        again = []
        for _ in range(times):
            before = len(arena.lines("bridge", RESTARTED))
            with arena.fault():
                arena.kill("redis")
                time.sleep(away_seconds)
                arena.start_server("redis")
            again.append(len(arena.lines("bridge", RESTARTED)) - before)
        arena.remarks.append(f"{', '.join(map(str, again))} ranges sent again because of the new run id")
        figures = arena.finish()
    # In a longer one the bridge has long sent again what was queued, and taken it back since nobody was there.
    assert any(again) or away_seconds > NOT_STARTED_SECONDS
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness
