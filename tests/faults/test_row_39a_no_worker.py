"""Row 39a: nobody ingests: first there is no worker at all, then workers crash while they are imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingestion.condition import STALLED_SECONDS
from sentinel.child import wait_until
from tests.faults.arena import PARTITIONS, Arena, Arenas

pytestmark = [pytest.mark.fault, pytest.mark.slow]

ALONE_SECONDS = 15.0
ALARM_MARGIN_SECONDS = 20.0
BOUND_SECONDS = 30.0


def test_row_39a_without_workers_there_is_an_alarm_and_nothing_is_set_aside(arenas: Arenas) -> None:
    with arenas.open(row="39a", fault="no worker, then workers that crash at import") as arena:
        arena.start_load(per_second=300)
        with arena.fault() as fault:
            arena.crew.stop("worker")
            assert not wait_until(lambda: is_alarmed(arena), timeout_seconds=ALONE_SECONDS)
            arena.launch("worker-broken", "worker", environment=broken_import(arena.directory))
            assert wait_until(lambda: is_alarmed(arena), timeout_seconds=STALLED_SECONDS + ALARM_MARGIN_SECONDS)
            assert arena.crew.record("worker-broken").restarts >= 2
            arena.crew.remove("worker-broken")
            arena.start("worker")
            fault.back()
        figures = arena.finish()
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness


def is_alarmed(arena: Arena) -> bool:
    """Tell whether the bridge has raised the alarm on every partition."""
    return len(arena.lines("bridge", "partition.stalled")) >= PARTITIONS


def broken_import(directory: Path) -> dict[str, str]:
    """Return the environment in which a worker cannot import what it needs."""
    (directory / "broken").mkdir()
    (directory / "broken" / "msgspec.py").write_text("raise ImportError('broken on purpose')\n")
    return {"PYTHONPATH": str(directory / "broken")}
