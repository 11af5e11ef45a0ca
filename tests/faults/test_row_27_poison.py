"""Row 27: records of every kind that breaks something, among good ones."""

from __future__ import annotations

import re

import pytest

from sentinel.child import wait_until
from tests.faults import poison
from tests.faults.arena import PARTITIONS, Arena, Arenas
from tests.faults.invalid import INVALID, poisoned
from tests.faults.load import Kind

pytestmark = pytest.mark.fault

# Less to halve, and less to burn each time.
LIMITS = {"SENTINEL_BATCH_RECORDS": "100", "SENTINEL_RECORD_CPU_SECONDS": "1"}
REASONS = {
    "kill": "killed_worker",
    "crash": "killed_worker",
    "burn": "killed_worker",
    "memory": "out_of_memory",
    "raise": "stage_failed",
}
DEADLY = 3
DEATHS_MOST = 18
FOUND_SECONDS = 120.0
HUGE_BYTES = 1_900_000
DEEP = 500_000


def test_row_27_each_record_that_breaks_something_is_set_aside_alone(arenas: Arenas) -> None:
    with arenas.open(
        row="27", fault="poison of five kinds, and what rules refuse", roles=["bridge"], environment=LIMITS
    ) as arena:
        arena.start("worker", prefix=poison.under("kill"))
        arena.start_load(per_second=500)
        pool = arena.crew.pid("worker")
        with arena.fault():
            send_spoiled(arena)
            for place, action in enumerate(REASONS):
                (event,) = arena.load.events_to_come(1)
                arena.load.send(poisoned(event.value, action=action), kind=Kind.POISON, partition=place % PARTITIONS)
            found = wait_until(lambda: len(set_aside(arena)) == len(REASONS), timeout_seconds=FOUND_SECONDS)
            assert found, arena.witness.cursors()
        assert arena.crew.pid("worker") == pool
        deaths = len(arena.lines("worker", "worker.process_died"))
        arena.remarks.append(f"{deaths} deaths for {DEADLY} records that kill")
        arena.finish()
        reasons = set_aside(arena)
    assert reasons == sorted(REASONS.values())
    assert 3 * DEADLY <= deaths <= DEATHS_MOST * DEADLY


def send_spoiled(arena: Arena) -> None:
    """Send one record of every kind that a rule refuses or puts aside."""
    events = [event.value for event in arena.load.events_to_come(len(INVALID) + 2)]
    for change, value in zip(INVALID.values(), events, strict=False):
        # Without a key a record needs a value.
        arena.load.send(change(value) or b"", kind=Kind.INVALID)
    huge = events[-1].replace(b'"metadata":{', b'"metadata":{"huge":"' + b"x" * HUGE_BYTES + b'",', 1)
    for value in (huge, b"[" * DEEP, b'{"a":' * (DEEP // 5)):
        arena.load.send(value, kind=Kind.INVALID)
    in_future = re.sub(rb'"timestamp":"\d{4}', b'"timestamp":"2999', events[-2], count=1)
    arena.load.send(in_future, kind=Kind.LATE)


def set_aside(arena: Arena) -> list[str]:
    """Return why records that no rule refuses were set aside."""
    query = "SELECT reason FROM ingestion_deadletter WHERE reason = ANY(%s) ORDER BY 1"
    return [reason for (reason,) in arena.witness.rows(query, list(set(REASONS.values())))]
