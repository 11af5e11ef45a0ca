"""Row 38c: records without keys: the same series, and the same events, through several partitions at once."""

from __future__ import annotations

import time

import pytest

from tests.faults.arena import PARTITIONS, Arena, Arenas
from tests.faults.load import Shares

pytestmark = pytest.mark.fault

BACKLOGS = 3
BACKLOG_SECONDS = 3.0
WATCHED_SECONDS = 4.0
LOCK_WAIT_SECONDS = 1.0
DUPLICATES_LEAST = 2_000
# Not what somebody waited for while the workers were stopped.
_WAITING = """
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - greatest(waitstart, to_timestamp(%s)))), 0)::float8
    FROM pg_locks WHERE NOT granted
"""


def test_row_38c_the_same_events_in_several_partitions_are_stored_once_and_block_nobody(arenas: Arenas) -> None:
    with arenas.open(row="38c", fault="no keys, a third are duplicates", roles=["bridge"]) as arena:
        arena.start("worker", arguments=["--concurrency", str(PARTITIONS)])
        arena.start_load(per_second=1_000, shares=Shares(duplicates=0.5), scatter=True)
        waited = []
        for _ in range(BACKLOGS):
            with arena.fault() as fault:
                # Four large ranges at once, with the same events in each.
                arena.suspend("worker")
                time.sleep(BACKLOG_SECONDS)
                arena.resume("worker")
                fault.back()
                waited.append(longest_wait(arena, since=fault.back_at))
        arena.remarks.append(f"longest wait for a lock {max(waited):.2f} s")
        figures = arena.finish()
        duplicates = arena.witness.value("SELECT sum(duplicates) FROM ingestion_batch")
        series = arena.witness.value("SELECT count(DISTINCT series_id) FROM metric_rollup")
        shared = arena.witness.value("SELECT count(DISTINCT (cursor_id, series_id)) FROM metric_rollup")
    assert duplicates >= DUPLICATES_LEAST
    assert shared == PARTITIONS * series
    assert figures.doubled == 0
    assert max(waited) <= LOCK_WAIT_SECONDS * arena.slowness


def longest_wait(arena: Arena, *, since: float) -> float:
    """Return how long, from `since` on, somebody is seen waiting for another's lock in the next seconds."""
    longest = 0.0
    deadline = time.monotonic() + WATCHED_SECONDS
    while time.monotonic() < deadline:
        longest = max(longest, arena.witness.value(_WAITING, since))
        time.sleep(0.05)
    return longest
