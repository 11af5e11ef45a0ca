"""Row 38f: a record that burns CPU inside C, where nothing can interrupt it."""

from __future__ import annotations

import pytest

from sentinel.child import wait_until
from tests.faults import poison
from tests.faults.arena import Arenas
from tests.faults.invalid import poisoned
from tests.faults.load import Kind

pytestmark = [pytest.mark.fault, pytest.mark.quick]

# Less to halve, and less to burn each time.
LIMITS = {"SENTINEL_BATCH_RECORDS": "100", "SENTINEL_RECORD_CPU_SECONDS": "1"}
DEATHS_MOST = 16
SET_ASIDE_SECONDS = 120.0
_SET_ASIDE = "SELECT count(*) FROM ingestion_deadletter WHERE reason = 'killed_worker'"


def test_row_38f_a_record_that_burns_cpu_is_set_aside_alone(arenas: Arenas) -> None:
    with arenas.open(row="38f", fault="a record burns CPU inside C", roles=["bridge"], environment=LIMITS) as arena:
        arena.start("worker", prefix=poison.under("burn"))
        arena.start_load(per_second=500)
        pool = arena.crew.pid("worker")
        (event,) = arena.load.events_to_come(1)
        with arena.fault():
            arena.load.send(poisoned(event.value), kind=Kind.POISON, partition=0)
            assert wait_until(lambda: arena.witness.value(_SET_ASIDE) == 1, timeout_seconds=SET_ASIDE_SECONDS)
        assert arena.drain(), arena.witness.cursors()
        assert arena.crew.pid("worker") == pool
        deaths = arena.lines("worker", "worker.process_died")
        arena.finish()
    assert 3 <= len(deaths) <= DEATHS_MOST
    assert all("SIGXCPU" in line for line in deaths)
