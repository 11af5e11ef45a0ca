"""Row 38d: deploys that signal the whole process group, and a broker that hangs: nothing is held against a record."""

from __future__ import annotations

import time

import pytest

from tests.faults.arena import Arenas

pytestmark = pytest.mark.fault

DEPLOYS = 4
# Longer than a request to Kafka may take.
HANGING_SECONDS = 15.0
BOUND_SECONDS = 10.0


def test_row_38d_deploys_and_timeouts_are_no_strikes(arenas: Arenas) -> None:
    with arenas.open(row="38d", fault="group SIGTERM, Kafka hangs") as arena:
        arena.start_load(per_second=1_000)
        for _ in range(DEPLOYS):
            with arena.fault():
                arena.terminate("worker", group=True)
                arena.wait_until_back("worker")
        with arena.fault():
            arena.suspend("kafka")
            time.sleep(HANGING_SECONDS)
            arena.resume("kafka")
        figures = arena.finish()
        died = arena.lines("bridge", "because=died")
        suspected = arena.witness.value("SELECT count(*) FROM ingestion_partitioncursor WHERE suspected_build <> ''")
    assert died == []
    assert suspected == 0
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness
