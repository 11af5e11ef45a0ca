"""Row 10: Redis hangs: it holds its connections and answers nothing."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from tests.faults.arena import Arenas

pytestmark = pytest.mark.fault

HUNG_SECONDS = 20.0
LOOP_BOUND_SECONDS = 6.0
BOUND_SECONDS = 5.0


def test_row_10_a_hung_redis_does_not_hang_the_bridge(arenas: Arenas) -> None:
    with arenas.open(row="10", fault="Redis, SIGSTOP for 20 s", roles=["worker"]) as arena:
        arena.start("bridge", environment=arena.failpoints("before_wait=pass"))
        arena.start_load(per_second=1_000)
        with arena.fault() as fault:
            arena.suspend("redis")
            time.sleep(HUNG_SECONDS)
            arena.resume("redis")
        steps = [at for at, _, _ in arena.hits() if at >= fault.began_at - 1]
        longest_step = max(later - earlier for earlier, later in pairwise(steps))
        arena.remarks.append(f"longest step of the bridge {longest_step:.1f} s")
        figures = arena.finish()
    assert longest_step <= LOOP_BOUND_SECONDS * arena.slowness
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness
