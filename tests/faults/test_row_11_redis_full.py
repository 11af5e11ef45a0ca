"""Row 11: Redis is full and refuses every write, tasks and baselines alike."""

from __future__ import annotations

import time

import pytest

from tests.faults.arena import Arenas

pytestmark = pytest.mark.fault

LIMIT_BYTES = 20 * 1024 * 1024
FULL_SECONDS = 10.0
BOUND_SECONDS = 5.0


def test_row_11_a_full_redis_makes_ingestion_wait_and_says_so(arenas: Arenas) -> None:
    with arenas.open(row="11", fault="Redis full for 10 s: maxmemory 20 MB, noeviction") as arena:
        arena.start_load(per_second=1_000)
        with arena.fault() as fault, arena.servers.redis_client() as client:
            client.set("filler", bytes(LIMIT_BYTES))
            client.config_set("maxmemory", LIMIT_BYTES)
            time.sleep(FULL_SECONDS / 2)
            offsets = [row.next_offset for row in arena.witness.cursor_rows()]
            told = arena.json("partitions", "list")["partitions"]
            time.sleep(FULL_SECONDS / 2)
            assert offsets == [row.next_offset for row in arena.witness.cursor_rows()]
            client.config_set("maxmemory", 0)
            client.delete("filler")
            fault.back()
        restarts = arena.crew.record("worker").restarts
        figures = arena.finish()
    assert {item["runbook"] for item in told} == {"docs/runbooks/redis-away.md"}
    assert restarts == 0
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness
