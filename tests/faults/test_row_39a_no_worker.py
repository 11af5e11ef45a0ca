"""Row 39a: nobody ingests: there is no worker at all for five minutes, or workers crash while they are imported."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from ingestion.condition import STALLED_SECONDS
from sentinel.child import wait_until
from tests.faults.arena import PARTITIONS, Arena, Arenas

pytestmark = [pytest.mark.fault, pytest.mark.slow]

ALONE_SECONDS = 300.0
ALARM_MARGIN_SECONDS = 5.0
BOUND_SECONDS = 10.0
DRAINED_SECONDS = 60.0


def test_row_39a_five_minutes_without_workers_raise_an_alarm_and_set_nothing_aside(arenas: Arenas) -> None:
    with arenas.open(row="39a", fault="no worker for 5 min") as arena:
        arena.start_load(per_second=200)
        with arena.fault() as fault:
            arena.crew.stop("worker")
            before, began_at = dead_letters(arena), time.monotonic()
            note_alarm(arena)
            time.sleep(max(0.0, began_at + ALONE_SECONDS - time.monotonic()))
            told = arena.json("partitions", "list", exit_code=1)["partitions"]
            assert dead_letters(arena) == before
            arena.start("worker")
            fault.back()
            note_drained(arena)
        figures = arena.finish()
    assert {(item["state"], item["runbook"]) for item in told} == {("stuck", "docs/runbooks/waiting-for-workers.md")}
    assert figures.standstill_max_seconds is not None
    assert figures.standstill_max_seconds >= ALONE_SECONDS
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness


def test_row_39a_workers_that_crash_at_import_raise_an_alarm_and_set_nothing_aside(arenas: Arenas) -> None:
    with arenas.open(row="39a-import", fault="workers that crash at import") as arena:
        arena.start_load(per_second=200)
        with arena.fault() as fault:
            arena.crew.stop("worker")
            before = dead_letters(arena)
            arena.launch("worker-broken", "worker", environment=broken_import(arena.directory))
            note_alarm(arena)
            crashes = arena.crew.record("worker-broken").restarts
            arena.remarks.append(f"{crashes} crashes at import")
            assert dead_letters(arena) == before
            arena.crew.remove("worker-broken")
            arena.start("worker")
            fault.back()
            note_drained(arena)
        figures = arena.finish()
    assert crashes >= 2
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness


def note_alarm(arena: Arena) -> None:
    """Wait until the bridge has raised the alarm on every partition: when it is due, neither sooner nor later."""
    began_at = time.monotonic()
    within = STALLED_SECONDS + ALARM_MARGIN_SECONDS * arena.slowness
    found = wait_until(lambda: len(alarmed(arena)) == PARTITIONS, timeout_seconds=within)
    assert found, arena.witness.cursors()
    seconds = time.monotonic() - began_at
    assert seconds > STALLED_SECONDS - ALARM_MARGIN_SECONDS
    arena.remarks.append(f"alarm after {seconds:.0f} s")


def alarmed(arena: Arena) -> set[str]:
    """Return the partitions that the bridge has raised the alarm on."""
    found = (re.search(r"partition=(\S+)", line) for line in arena.lines("bridge", "partition.stalled"))
    return {match[1] for match in found if match}


def note_drained(arena: Arena) -> None:
    """Wait until all that was waiting is ingested."""
    began_at, waiting = time.monotonic(), arena.load.acknowledged
    arena.witness.wait_until_stored(waiting, timeout_seconds=DRAINED_SECONDS * arena.slowness)
    arena.remarks.append(f"{waiting:,} records drained within {time.monotonic() - began_at:.0f} s")


def dead_letters(arena: Arena) -> int:
    """Return how many records stand among the dead letters."""
    return int(arena.witness.value("SELECT count(*) FROM ingestion_deadletter"))


def broken_import(directory: Path) -> dict[str, str]:
    """Return the environment in which a worker cannot import what it needs."""
    (directory / "broken").mkdir()
    (directory / "broken" / "msgspec.py").write_text("raise ImportError('broken on purpose')\n")
    return {"PYTHONPATH": str(directory / "broken")}
