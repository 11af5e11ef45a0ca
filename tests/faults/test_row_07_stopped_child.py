"""Row 7: a child of the pool stands still inside its transaction for longer than PostgreSQL waits."""

from __future__ import annotations

import psutil
import pytest

from sentinel.child import wait_until
from sentinel.settings import ROLE_TIMEOUTS_MS
from tests.faults.arena import Arenas

pytestmark = pytest.mark.fault

IDLE_SECONDS = ROLE_TIMEOUTS_MS["worker"][2] / 1_000
MARGIN_SECONDS = 10.0


def test_row_07_postgres_frees_the_row_of_a_stopped_child_and_refuses_its_commit(arenas: Arenas) -> None:
    with arenas.open(row="07", fault="pool child, SIGSTOP in its transaction", roles=["bridge"]) as arena:
        arena.start("worker", environment=arena.failpoints("before_commit=freeze:nth=10:once"))
        arena.start_load(per_second=1_200, settled=False)
        assert wait_until(lambda: bool(arena.hits()), timeout_seconds=60)
        with arena.fault() as fault:
            fault.back()
        zombie = next(child for child in arena.crew.children("worker") if child.status() == psutil.STATUS_STOPPED)
        zombie.resume()
        assert wait_until(lambda: bool(arena.lines("worker", "ingest.attempt_failed")), timeout_seconds=10)
        arena.wait_until_all_commit()
        assert zombie.is_running()
        refused = arena.lines("worker", "ingest.attempt_failed")
        figures = arena.finish()
    assert len(refused) == 1
    assert "outcome=database" in refused[0]
    assert figures.standstill_max_seconds is not None
    assert figures.standstill_max_seconds <= IDLE_SECONDS + MARGIN_SECONDS * arena.slowness
