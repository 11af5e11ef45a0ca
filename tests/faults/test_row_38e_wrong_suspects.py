"""Row 38e: workers die, and no record is to blame: a broken build, and a kernel that ends the wrong process."""

from __future__ import annotations

import pytest

from ingestion.models import HaltReason
from sentinel.child import wait_until
from tests.faults.arena import Arena, Arenas

pytestmark = pytest.mark.fault

# Less to halve, so that a build proves itself broken soon.
SMALL_RANGES = {"SENTINEL_BATCH_RECORDS": "10"}
HALT_SECONDS = 240.0
# Twice the whole range, then by halves, and three times alone; in each of four partitions.
DEATHS_MOST = 4 * (2 + 4 + 3)
INNOCENTS = 15


def test_row_38e_a_build_that_dies_of_every_record_halts_and_sets_nothing_aside(arenas: Arenas) -> None:
    with arenas.open(row="38e-build", fault="a build that crashes on every record", roles=["worker"]) as arena:
        arena.start("bridge", environment=SMALL_RANGES)
        arena.start_load(per_second=400)
        arena.crew.stop("worker")
        known = set_aside(arena)
        arena.start("worker", environment=arena.failpoints("after_decode=kill") | {"SENTINEL_BUILD": "broken"})
        assert wait_until(lambda: halts(arena) == [HaltReason.POISONED_BUILD] * 4, timeout_seconds=HALT_SECONDS)
        assert set_aside(arena) == known == 0
        deaths = len(arena.hits())
        arena.restart("worker")
        with arena.fault():
            resumed = arena.json("partitions", "resume", "--all", "--yes")
        assert len(resumed["resumed"]) == 4
        arena.remarks.append(f"{deaths} deaths until all were halted")
        arena.finish()
    assert deaths <= DEATHS_MOST


def test_row_38e_a_kernel_that_kills_the_wrong_children_sets_nothing_aside(arenas: Arenas) -> None:
    with arenas.open(row="38e-oom", fault="innocent children killed, one after the other") as arena:
        arena.start_load(per_second=1_000)
        for _ in range(INNOCENTS):
            with arena.fault(recovers=False) as fault:
                arena.kill_busy_child(fault)
        figures = arena.finish()
    assert figures.faults == INNOCENTS


def halts(arena: Arena) -> list[str]:
    """Return why the partitions are halted."""
    return [row.halted_because for row in arena.witness.cursor_rows()]


def set_aside(arena: Arena) -> int:
    """Return how many dead letters are not the verdict of a rule."""
    return int(
        arena.witness.value(
            "SELECT count(*) FROM ingestion_deadletter WHERE reason IN "
            "('killed_worker', 'stage_failed', 'storage_refused', 'out_of_memory')"
        )
    )
