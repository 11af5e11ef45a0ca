"""Row 27: records of every kind that breaks something, among good ones."""

from __future__ import annotations

import base64
import re
from collections import Counter

import pytest

from sentinel.child import wait_until
from tests.faults import poison
from tests.faults.arena import PARTITIONS, Arena, Arenas
from tests.faults.invalid import INVALID, poisoned
from tests.faults.load import Kind

pytestmark = pytest.mark.fault

CPU_SECONDS = 5
# Less to halve, and less to burn each time.
LIMITS = {"SENTINEL_BATCH_RECORDS": "100", "SENTINEL_RECORD_CPU_SECONDS": f"{CPU_SECONDS}"}
REASONS = {
    "kill": "killed_worker",
    "crash": "killed_worker",
    "waste": "killed_worker",
    "memory": "out_of_memory",
    "raise": "stage_failed",
}
# What ends a worker tells which record it was.
SIGNALS = {"kill": "SIGKILL", "crash": "SIGSEGV", "waste": "SIGXCPU"}
DEATHS_LEAST, DEATHS_MOST = 3, 18
FOUND_SECONDS = 150.0
HUGE_BYTES = 10_000_000
# What a broker takes by default is less.
MAX_RECORD_BYTES = 12_000_000
DEEP = 500_000


def test_row_27_each_record_that_breaks_something_is_set_aside_alone(arenas: Arenas) -> None:
    assert CPU_SECONDS < poison.WASTED_CPU_SECONDS / 10
    with arenas.open(
        row="27", fault="poison of five kinds, 10 MB, and what rules refuse", roles=["bridge"], environment=LIMITS
    ) as arena:
        arena.servers.configure_topic(arena.topic, {"max.message.bytes": f"{MAX_RECORD_BYTES}"})
        arena.start("worker", prefix=poison.under("kill"))
        arena.start_load(per_second=500, max_record_bytes=MAX_RECORD_BYTES)
        pool = arena.crew.pid("worker")
        with arena.fault():
            send_spoiled(arena)
            for place, action in enumerate(REASONS):
                (event,) = arena.load.events_to_come(1)
                arena.load.send(poisoned(event.value, action=action), kind=Kind.POISON, partition=place % PARTITIONS)
            found = wait_until(
                lambda: len(set_aside(arena)) == len(REASONS), timeout_seconds=FOUND_SECONDS * arena.slowness
            )
            assert found, arena.witness.cursors()
        assert arena.crew.pid("worker") == pool
        died = deaths(arena)
        arena.remarks.append("deaths: " + ", ".join(f"{died[name]} by {name}" for name in SIGNALS.values()))
        arena.finish()
        reasons = set_aside(arena)
        too_large = arena.witness.rows(
            "SELECT size_bytes > %s FROM ingestion_deadletter WHERE reason = 'too_large'", HUGE_BYTES
        )
    assert reasons == sorted(REASONS.values())
    assert too_large == [(True,)]
    assert set(died) == set(SIGNALS.values())
    assert all(DEATHS_LEAST <= count <= DEATHS_MOST for count in died.values()), died


def send_spoiled(arena: Arena) -> None:
    """Send one record of every kind that a rule refuses or puts aside."""
    events = [event.value for event in arena.load.events_to_come(len(INVALID) + 2)]
    for change, value in zip(INVALID.values(), events, strict=False):
        # Without a key a record needs a value.
        arena.load.send(change(value) or b"", kind=Kind.INVALID)
    # What can be compressed would be small for the broker.
    noise = base64.b64encode(arena.random.randbytes(HUGE_BYTES * 3 // 4))
    huge = events[-1].replace(b'"metadata":{', b'"metadata":{"huge":"' + noise + b'",', 1)
    for value in (huge, b"[" * DEEP, b'{"a":' * (DEEP // 5)):
        arena.load.send(value, kind=Kind.INVALID)
    in_future = re.sub(rb'"timestamp":"\d{4}', b'"timestamp":"2999', events[-2], count=1)
    arena.load.send(in_future, kind=Kind.LATE)


def set_aside(arena: Arena) -> list[str]:
    """Return why records that no rule refuses were set aside."""
    query = "SELECT reason FROM ingestion_deadletter WHERE reason = ANY(%s) ORDER BY 1"
    return [reason for (reason,) in arena.witness.rows(query, list(set(REASONS.values())))]


def deaths(arena: Arena) -> Counter[str]:
    """Return how many of the worker's processes died, by signal."""
    found = (re.search(r"signal=(\w+)", line) for line in arena.lines("worker", "worker.process_died"))
    return Counter(match[1] for match in found if match)
