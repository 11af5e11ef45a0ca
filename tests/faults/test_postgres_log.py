"""The log in PostgreSQL, without Kafka: many append, while whoever reads, dispatches, appends or stores is killed."""

from __future__ import annotations

import pytest

from ingestion.log.postgres import PARTITIONS
from tests.faults.arena import Arena, Arenas, Fault
from tests.faults.http_load import HttpLoad
from tests.faults.postgres_arena import PostgresArena

pytestmark = pytest.mark.fault

ROUNDS = 2
PER_SECOND = 600
CHILD_BOUND_SECONDS = 2.0
BOUND_SECONDS = 5.0


def test_row_pg_log_acknowledged_events_are_there_and_no_event_is_there_twice(arenas: Arenas) -> None:
    with arenas.open(
        row="PG-log",
        fault="log in PostgreSQL: pool child, bridge and web process, kill -9; PostgreSQL, immediate stop",
        kind=PostgresArena,
        partitions=PARTITIONS,
    ) as arena:
        load = arena.start_load(per_second=PER_SECOND)
        assert isinstance(load, HttpLoad)
        children = [kill_each(arena) for _ in range(ROUNDS)]
        with arena.fault() as fault:
            arena.kill_busy_child(fault)
            arena.kill("bridge")
            restart_postgres(arena)
            arena.wait_until_back("bridge")
        figures = arena.finish()
    # Somebody was in the middle of an append.
    assert load.acknowledged > load.unanswered.total() > 0
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness
    for child in children:
        assert child.standstill_seconds is not None
        assert child.standstill_seconds <= CHILD_BOUND_SECONDS * arena.slowness


def kill_each(arena: Arena) -> Fault:
    """Kill one after the other; return what became of the pool child."""
    with arena.fault() as child:
        arena.kill_busy_child(child)
    for name in ("bridge", "web"):
        with arena.fault():
            arena.kill(name)
            arena.wait_until_back(name)
    with arena.fault():
        restart_postgres(arena)
    return child


def restart_postgres(arena: Arena) -> None:
    arena.servers.postgres.stop_at_once()
    arena.start_server("postgres")
