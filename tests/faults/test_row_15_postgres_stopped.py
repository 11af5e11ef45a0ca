"""Row 15: single processes of PostgreSQL stand still: a backend in the middle of a statement, the checkpointer."""

from __future__ import annotations

import time

import psutil
import pytest

from sentinel.child import wait_until
from tests.faults.arena import Arena, Arenas

pytestmark = pytest.mark.fault

# Instead of a minute, so that the row need not last for one.
STATEMENT_SECONDS = 2
STOPPED_SECONDS = 4.0
BOUND_SECONDS = 5.0


def test_row_15_a_statement_that_lasts_too_long_is_ended_and_tried_again(arenas: Arenas) -> None:
    with arenas.open(row="15", fault="backend in a statement, checkpointer: SIGSTOP", roles=["bridge"]) as arena:
        options = f"-c statement_timeout={STATEMENT_SECONDS}s -c client_connection_check_interval=1s"
        arena.start(
            "worker", environment={"DATABASE_URL": f"{arena.database_url}&options={options.replace(' ', '%20')}"}
        )
        arena.start_load(per_second=1_200)
        with arena.fault() as fault:
            backend = backend_in_a_statement(arena)
            fault.begin()
            time.sleep(STOPPED_SECONDS)
            backend.resume()
        cancelled = arena.lines("worker", "57014")
        with arena.fault():
            checkpointer = server_process(arena, "checkpointer")
            checkpointer.suspend()
            arena.wait_until_all_commit()
            time.sleep(STOPPED_SECONDS)
            checkpointer.resume()
        figures = arena.finish()
    assert cancelled
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness


def backend_in_a_statement(arena: Arena) -> psutil.Process:
    """Stop a backend of the worker while it writes; return it, stopped."""
    found: list[psutil.Process] = []

    def caught() -> bool:
        query = (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'sentinel-worker' "
            "AND state = 'active' AND query ~* '^ *(copy|insert|update)'"
        )
        for (pid,) in arena.witness.rows(query):
            process = psutil.Process(pid)
            process.suspend()
            if arena.witness.value(f"SELECT state FROM pg_stat_activity WHERE pid = {pid}") == "active":
                found.append(process)
                return True
            process.resume()
        return False

    assert wait_until(caught, timeout_seconds=30, poll_seconds=0.005)
    return found[0]


def server_process(arena: Arena, kind: str) -> psutil.Process:
    return next(each for each in arena.servers.postgres.processes() if kind in " ".join(each.cmdline()))
