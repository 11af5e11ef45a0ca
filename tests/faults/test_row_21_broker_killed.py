"""Row 21: the broker is killed and comes back; meanwhile nobody burns CPU."""

from __future__ import annotations

import time
from contextlib import suppress

import psutil
import pytest

from tests.faults.arena import Arena, Arenas

pytestmark = pytest.mark.fault

OUTAGES = [
    pytest.param(5.0, 2, id="5s"),
    pytest.param(60.0, 1, id="60s", marks=pytest.mark.slow),
]
BOUND_SECONDS = 5.0
CPU_SHARE_MOST = 0.2


@pytest.mark.parametrize(("away_seconds", "times"), OUTAGES)
def test_row_21_a_broker_that_was_killed_is_used_again_and_missed_quietly(
    arenas: Arenas, away_seconds: float, times: int
) -> None:
    shares = []
    with arenas.open(row=f"21-{away_seconds:g}s", fault=f"Kafka, kill -9, back after {away_seconds:g} s") as arena:
        arena.start_load(per_second=1_000)
        for _ in range(times):
            with arena.fault() as fault:
                arena.kill("kafka")
                # What was read already is still ingested.
                time.sleep(1.0)
                shares += cpu_shares(arena, seconds=away_seconds - 1.0)
                fault.note(f"CPU {max(shares):.0%}")
                arena.start_server("kafka")
        arena.remarks.append(f"at most {max(shares):.0%} of a core while it was away")
        figures = arena.finish()
    assert max(shares) < CPU_SHARE_MOST
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness


def cpu_shares(arena: Arena, *, seconds: float) -> list[float]:
    """Return how much of a core bridge and worker, with all their processes, use in the next seconds."""
    before = {name: cpu_seconds(arena, name) for name in ("bridge", "worker")}
    time.sleep(seconds)
    return [(cpu_seconds(arena, name) - used) / seconds for name, used in before.items()]


def cpu_seconds(arena: Arena, name: str) -> float:
    """Return the CPU time that a process and its children have used so far."""
    used = 0.0
    for process in (psutil.Process(arena.crew.pid(name)), *arena.crew.children(name)):
        with suppress(psutil.NoSuchProcess):
            used += sum(process.cpu_times()[:2])
    return used
