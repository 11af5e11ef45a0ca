"""Row 17: sessions of the database are ended at random."""

from __future__ import annotations

import time

import pytest

from sentinel.child import wait_until
from tests.faults.arena import Arena, Arenas

pytestmark = [pytest.mark.fault, pytest.mark.quick]

SESSIONS = 8
BETWEEN_SECONDS = 1.0
BOUND_SECONDS = 5.0
_SESSIONS = """
    SELECT pid, application_name FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'sentinel-%'
"""


def test_row_17_a_session_may_end_at_any_time(arenas: Arenas) -> None:
    with arenas.open(row="17", fault="pg_terminate_backend, a random session every second") as arena:
        arena.start_load(per_second=1_200)
        with arena.fault() as fault:
            for _ in range(SESSIONS):
                pid, name = arena.random.choice(sessions(arena))
                arena.witness.rows("SELECT pg_terminate_backend(%s)", pid)
                fault.note(name)
                time.sleep(BETWEEN_SECONDS)
        figures = arena.finish()
    assert len(fault.notes) == SESSIONS
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness


def sessions(arena: Arena) -> list[tuple[int, str]]:
    """Return id and name of Sentinel's sessions; just after the last one was ended there may be none for a moment."""
    found: list[tuple[int, str]] = []

    def is_any() -> bool:
        found.extend(arena.witness.rows(_SESSIONS))
        return bool(found)

    assert wait_until(is_any, timeout_seconds=BOUND_SECONDS)
    return found
