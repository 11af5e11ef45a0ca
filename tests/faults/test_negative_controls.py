"""The suite fails on variants that break one promise each: what it says of the real thing is worth something."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest

from tests.faults.arena import Arena, Arenas
from tests.faults.differences import Differences, Invariant
from tests.faults.load import Shares

pytestmark = pytest.mark.fault

EVENTS = 12_000
SMALL_BATCHES = {"SENTINEL_BATCH_RECORDS": "400"}
# Every process of the pool dies at its fourth batch, in the last moment before COMMIT.
CRASHES = {"SENTINEL_FAILPOINTS": "before_commit=kill:nth=4"}


@contextmanager
def broken(arenas: Arenas, variant: str, *, role: str = "worker", **options: Any) -> Iterator[Arena]:
    """Give an arena whose worker (or bridge) is the broken variant; the other one is as it should be."""
    other = "bridge" if role == "worker" else "worker"
    with arenas.open(row=f"control-{variant}", fault=variant, roles=[other], environment=SMALL_BATCHES) as arena:
        arena.start(role, prefix=[sys.executable, "-m", "tests.faults.broken", variant], **options)
        yield arena


@contextmanager
def unbroken(arenas: Arenas, *, worker: Mapping[str, str]) -> Iterator[Arena]:
    """Give an arena like those of the variants, with nothing broken."""
    with arenas.open(row="control", fault="nothing is broken", roles=["bridge"], environment=SMALL_BATCHES) as arena:
        arena.start("worker", environment=worker)
        yield arena


def send(arena: Arena, *, events: int = EVENTS, **options: Any) -> None:
    """Send a fixed number of events as fast as it goes."""
    arena.start_load(per_second=None, events=events, settled=False, **options)
    arena.load.wait()


def caught(found: Differences, *invariants: Invariant) -> None:
    """Assert that one of these invariants is what gives the variant away."""
    print(found)
    assert found.broken & set(invariants), found


def test_the_same_crashes_break_nothing_of_what_is_not_broken(arenas: Arenas) -> None:
    with unbroken(arenas, worker=CRASHES) as arena:
        send(arena)
        found = arena.examine()
        assert found.holds, found


def test_the_same_locks_break_nothing_of_what_is_not_broken(arenas: Arenas) -> None:
    with unbroken(arenas, worker={}) as arena:
        lock_out(arena)
        found = arena.examine(drain_seconds=30)
        assert found.holds, found


def test_baselines_published_before_the_commit_are_noticed(arenas: Arenas) -> None:
    with broken(arenas, "redis_before_commit", environment=CRASHES) as arena:
        send(arena)
        caught(arena.examine(), Invariant.BASELINE_BASIS_EQUAL)


def test_an_offset_moved_in_another_transaction_is_noticed(arenas: Arenas) -> None:
    with broken(arenas, "offset_in_another_transaction", environment=CRASHES) as arena:
        send(arena)
        found = arena.examine()
        caught(found, Invariant.EVERY_RECORD_ONCE, Invariant.CHAIN_OF_BATCHES)
        # A partition that merely stands still would break them, too.
        assert Invariant.NOT_HALTED not in found.broken, found


def test_learning_per_batch_is_noticed(arenas: Arenas) -> None:
    with broken(arenas, "fold_per_batch") as arena:
        send(arena)
        caught(arena.examine(), Invariant.BASELINE_BASIS_EQUAL)


def test_events_inserted_unsorted_are_noticed(arenas: Arenas) -> None:
    with broken(arenas, "unsorted_insert", arguments=["--concurrency", "4"]) as arena:
        arena.crew.stop("bridge")  # A backlog lets all partitions insert at once.
        send(arena, events=30_000, scatter=True, shares=Shares(duplicates=1.0))
        arena.start("bridge")
        caught(arena.examine(), Invariant.NO_DEADLOCK)


def test_a_deadlock_is_noticed_although_postgresql_has_crashed_since(arenas: Arenas) -> None:
    with arenas.open(row="control", fault="a deadlock, then a crash", roles=[]) as arena:
        with arenas.open(row="control-other", fault="none", roles=[]) as other:
            deadlock(arena.database_url)
            arena.witness.close()
            other.witness.close()
            arena.servers.postgres.stop_at_once()
            arena.start_server("postgres")
            assert other.examine(drain_seconds=0).broken == frozenset()
        forgotten = arena.witness.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        found = arena.examine(drain_seconds=0)
    assert forgotten == 0
    assert [(breach.invariant, breach.count) for breach in found.breaches] == [(Invariant.NO_DEADLOCK, 1)], found


def deadlock(database_url: str) -> None:
    """Let two sessions wait for each other."""
    with closing(psycopg2.connect(database_url)) as first, closing(psycopg2.connect(database_url)) as second:
        for session, key in ((first, 1), (second, 2)):
            session.cursor().execute("SELECT pg_advisory_xact_lock(%s)", [key])
        with ThreadPoolExecutor(max_workers=1) as pool:
            waiting = pool.submit(second.cursor().execute, "SELECT pg_advisory_xact_lock(1)")
            errors = [ended(lambda: first.cursor().execute("SELECT pg_advisory_xact_lock(2)")), ended(waiting.result)]
    assert sorted(errors) == [False, True]


def ended(call: Callable[[], object]) -> bool:
    """Tell whether PostgreSQL ended a session's transaction to let another one go on."""
    try:
        call()
    except psycopg2.errors.DeadlockDetected:
        return True
    return False


def test_strikes_for_any_failure_are_noticed(arenas: Arenas) -> None:
    with broken(arenas, "strike_on_any_failure", role="bridge") as arena:
        lock_out(arena)
        # Good records among the dead letters, or a partition that waits for a person without need.
        caught(arena.examine(drain_seconds=30), Invariant.NO_GOOD_RECORD_DEAD_LETTERED, Invariant.NOT_HALTED)


def lock_out(arena: Arena) -> None:
    """Let an impatient worker meet locks on all that it writes."""
    impatient = arena.database_url + "&options=-c%20lock_timeout%3D100ms"
    arena.restart("worker", environment={"DATABASE_URL": impatient})
    arena.start_load(per_second=1_000)
    lock_events(arena.database_url, seconds=15)


def lock_events(database_url: str, *, seconds: float) -> None:
    """Lock the table of events: every batch meets an error of the surroundings, SQLSTATE 55P03."""
    with closing(psycopg2.connect(database_url)) as session, session.cursor() as sql:
        sql.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        time.sleep(seconds)
        session.rollback()
