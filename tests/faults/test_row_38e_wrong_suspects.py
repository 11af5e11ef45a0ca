"""Row 38e: workers die, and no record is to blame: a broken build, and a kernel that ends the wrong process."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import psutil
import pytest

from ingestion.models import HaltReason
from ingestion.suspicion import STRIKES_TO_SET_ASIDE
from sentinel.child import wait_until
from tests.faults.arena import Arena, Arenas
from tests.faults.handles import STILL_SECONDS

pytestmark = pytest.mark.fault

# Less to halve, so that a build proves itself broken soon.
SMALL_RANGES = {"SENTINEL_BATCH_RECORDS": "10"}
HALT_SECONDS = 240.0
# Twice the whole range, then by halves, and three times alone; in each of four partitions.
DEATHS_MOST = 4 * (2 + 4 + 3)
# Long enough to meet a child in the middle of each range.
SLOW = "after_read=sleep(0.4)"
SLOW_LOAD = 40
DEATHS_UNTIL_ALONE = 2 + 4 + STRIKES_TO_SET_ASIDE
CHILD_SECONDS = 60.0


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
    """One record alone sees three of its workers killed, and a fourth go with its whole tree, which nobody can report."""
    with arenas.open(
        row="38e-oom", fault="children killed on one innocent record", roles=["bridge"], environment=SMALL_RANGES
    ) as arena:
        arena.start("worker", environment=arena.failpoints(SLOW))
        arena.start_load(per_second=SLOW_LOAD)
        kill_child_at(arena, partition=1)
        assert wait_until(lambda: column(arena, "spared_at", partition=1) is not None, timeout_seconds=60)
        deaths = 0
        while column(arena, "lone_strikes") < STRIKES_TO_SET_ASIDE:
            kill_child_at(arena, partition=0)
            deaths += 1
            assert deaths <= DEATHS_UNTIL_ALONE, arena.witness.cursors()
        kill_child_at(arena, partition=0, with_parent=True)
        assert wait_until(lambda: column(arena, "lone_deaths") == 1, timeout_seconds=60), arena.witness.cursors()
        assert column(arena, "condemned_offset") is None
        arena.restart("worker")
        arena.wait_until_all_commit()
        assert set_aside(arena) == 0
        arena.remarks.append(f"{deaths} deaths until one record was suspected three times alone")
        figures = arena.finish()
        assert set_aside(arena) == 0
    assert figures.faults == deaths + 2


def kill_child_at(arena: Arena, *, partition: int, with_parent: bool = False) -> None:
    """SIGKILL the child that works on a partition, in the middle of a batch, and wait until the bridge has acted on it."""
    with arena.fault(recovers=False) as fault:
        child, attempt = child_at(arena, partition=partition)
        fault.begin()
        if with_parent:
            arena.kill("worker")
        else:
            child.kill()
    assert wait_until(
        lambda: column(arena, "attempt", partition=partition) > attempt, timeout_seconds=60, poll_seconds=0.02
    ), arena.witness.cursors()


def child_at(arena: Arena, *, partition: int) -> tuple[psutil.Process, int]:
    """Suspend the child that works on a partition; return it, stopped, and its attempt."""
    cursor_id = column(arena, "id", partition=partition)
    deadline = time.monotonic() + CHILD_SECONDS
    while time.monotonic() < deadline:
        for pid, at_work in arena.witness.at_work().items():
            if at_work[0] != cursor_id:
                continue
            with suppress(psutil.NoSuchProcess):
                child = psutil.Process(pid)
                child.suspend()
                time.sleep(STILL_SECONDS)
                if arena.witness.at_work().get(pid) == at_work:
                    return child, at_work[1]
                child.resume()
        time.sleep(0.02)
    raise AssertionError(f"no child was met in the middle of a batch: {arena.witness.cursors()}")


def column(arena: Arena, name: str, *, partition: int = 0) -> Any:
    """Return what the cursor of a partition holds."""
    query = f"SELECT {name} FROM ingestion_partitioncursor WHERE topic = %s AND partition = %s"
    return arena.witness.value(query, arena.topic, partition)


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
