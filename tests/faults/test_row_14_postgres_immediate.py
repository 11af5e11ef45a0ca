"""Row 14: PostgreSQL is stopped at once, without a goodbye, and started again; an answer to COMMIT is lost."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from sentinel.child import wait_until
from tests.faults.arena import Arenas
from tests.faults.proxy import Proxy

pytestmark = pytest.mark.fault

RESTARTS = 3
BETWEEN_SECONDS = 3.0
BOUND_SECONDS = 5.0


def test_row_14_postgresql_may_crash_at_any_time(arenas: Arenas) -> None:
    with arenas.open(row="14", fault="PostgreSQL, immediate stop and start") as arena:
        arena.start_load(per_second=1_200)
        for _ in range(RESTARTS):
            with arena.fault() as fault:
                arena.servers.postgres.stop_at_once()
                arena.start_server("postgres")
                fault.back()
            time.sleep(BETWEEN_SECONDS * arena.random.random())
        figures = arena.finish()
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness


@pytest.mark.quick
def test_row_14_a_commit_whose_answer_was_lost_counts_once(arenas: Arenas) -> None:
    with (
        Proxy() as proxy,
        arenas.open(row="14-commit", fault="the answer to COMMIT is lost", roles=["bridge"]) as arena,
    ):
        socket = Path(arena.servers.postgres.service.address or "") / ".s.PGSQL.5432"
        link = proxy.link(socket)
        database = f"postgresql://sentinel@127.0.0.1:{link.port}/{arena.name}?sslmode=disable&gssencmode=disable"
        armed = arena.failpoints("before_commit=freeze:nth=5:once")
        arena.start("worker", environment={**armed, "DATABASE_URL": database})
        arena.start_load(per_second=1_000, settled=False)
        assert wait_until(lambda: bool(arena.hits()), timeout_seconds=60)
        with arena.fault():
            link.lose_answers()
            psutil.Process(arena.hits()[0][1]).resume()
        unanswered = arena.lines("worker", "ingest.commit_unanswered")
        figures = arena.finish()
    # A second process of the pool may have been in its COMMIT as well.
    assert unanswered
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness
