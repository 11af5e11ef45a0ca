"""Row 6: children of the worker's pool are killed: in the middle of a batch, and between any two steps of one."""

from __future__ import annotations

import pytest

from ingestion.failpoint import WORKER_POINTS
from sentinel.child import wait_until
from tests.faults.arena import Arenas

pytestmark = pytest.mark.fault

KILLS = 5
# A second; in the worst case also the half second or so between two commits of an undisturbed partition.
BOUND_SECONDS = 1.0
MAX_BOUND_SECONDS = 1.5

ALL_KILLED_SECONDS = 120.0
RANDOM_SECONDS = 90.0
# Whoever is killed sooner is killed on the same records again and again: nothing tells them from poison then.
BATCHES_OF_A_LIFE = 8


@pytest.mark.quick
def test_row_06_a_killed_pool_child_holds_nobody_up(arenas: Arenas) -> None:
    with arenas.open(row="06", fault="pool child, kill -9 in a batch") as arena:
        arena.start_load(per_second=1_500)
        for _ in range(KILLS):
            with arena.fault() as fault:
                arena.kill_busy_child(fault)
        figures = arena.finish()
    assert figures.standstill_p50_seconds is not None
    assert figures.standstill_max_seconds is not None
    assert figures.standstill_p50_seconds <= BOUND_SECONDS * arena.slowness
    assert figures.standstill_max_seconds <= MAX_BOUND_SECONDS * arena.slowness


def test_row_06_a_child_may_die_between_any_two_steps(arenas: Arenas) -> None:
    armed = "; ".join(f"{point}=kill:nth={BATCHES_OF_A_LIFE}:once" for point in WORKER_POINTS)
    with arenas.open(row="06-each", fault="pool child, killed once at each failpoint", roles=["bridge"]) as arena:
        arena.start("worker", environment=arena.failpoints(armed))
        arena.start_load(per_second=800, settled=False)
        assert wait_until(lambda: len(arena.hits()) == len(WORKER_POINTS), timeout_seconds=ALL_KILLED_SECONDS)
        arena.count_hits()
        figures = arena.finish()
    assert {point for _, _, point in arena.hits()} == set(WORKER_POINTS)
    assert figures.standstill_p50_seconds is not None
    assert figures.standstill_max_seconds is not None
    assert figures.standstill_p50_seconds <= BOUND_SECONDS * arena.slowness
    assert figures.standstill_max_seconds <= MAX_BOUND_SECONDS * arena.slowness


def test_row_06_children_may_die_at_random_steps(arenas: Arenas) -> None:
    armed = "; ".join(f"{point}=kill:p=0.003" for point in WORKER_POINTS)
    with arenas.open(row="06-random", fault="pool child, killed at random failpoints", roles=["bridge"]) as arena:
        arena.start("worker", environment=arena.failpoints(armed))
        arena.start_load(per_second=1_000)
        assert wait_until(lambda: len(arena.hits()) >= KILLS, timeout_seconds=RANDOM_SECONDS)
        arena.count_hits()
        figures = arena.finish()
    # Two in a row may hit the same range.
    assert figures.standstill_p50_seconds is not None
    assert figures.standstill_p50_seconds <= BOUND_SECONDS * arena.slowness
