"""Row 18: somebody locks the table of events for longer than a worker waits."""

from __future__ import annotations

import time
from contextlib import closing

import psycopg2
import pytest

from sentinel.settings import ROLE_TIMEOUTS_MS
from tests.faults.arena import Arenas

pytestmark = pytest.mark.fault

LOCK_TIMEOUT_SECONDS = ROLE_TIMEOUTS_MS["worker"][1] / 1_000
HELD_SECONDS = LOCK_TIMEOUT_SECONDS + 4
BOUND_SECONDS = 5.0


def test_row_18_a_lock_on_the_events_delays_and_breaks_nothing(arenas: Arenas) -> None:
    with arenas.open(row="18", fault=f"LOCK TABLE events for {HELD_SECONDS:g} s") as arena:
        arena.start_load(per_second=1_000)
        with (
            closing(psycopg2.connect(arena.database_url)) as connection,
            connection.cursor() as sql,
            arena.fault() as fault,
        ):
            sql.execute("LOCK TABLE events")
            fault.begin()
            time.sleep(HELD_SECONDS)
            connection.rollback()
        gave_up = arena.lines("worker", "55P03")
        figures = arena.finish()
    assert gave_up
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness
