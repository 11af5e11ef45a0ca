"""Row 35: the clocks of bridge, worker and dispatcher jump an hour ahead and back, under load."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.faults.arena import Arena, Arenas

pytestmark = pytest.mark.fault

ROLES = ("bridge", "worker", "alerts")
JUMPS: list[Mapping[str, str]] = [
    {"bridge": "+1h", "worker": "-1h", "alerts": "+1h"},
    {"bridge": "-1h", "worker": "+1h", "alerts": "-1h"},
    {"bridge": "+0", "worker": "+0", "alerts": "+0"},
    {"bridge": "-1h", "worker": "-1h", "alerts": "-1h"},
]
# libfaketime 0.9.10 refuses the call by which Python 3.11 and later sleep.
SLEEP = """
import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""
# A busy machine starts some ranges late.
SENT_AGAIN_MOST = 10
SEEN_SECONDS = 1.5
BOUND_SECONDS = 5.0


def test_row_35_nothing_expires_because_a_clock_jumps(arenas: Arenas) -> None:
    with arenas.open(row="35", fault="clocks an hour ahead or back", roles=[]) as arena:
        for role in ROLES:
            set_clock(arena, role, "+1h" if role == "worker" else "+0")
            arena.start(role, environment=own_clock(arena, role))
        arena.start_load(per_second=1_000)
        for jump in JUMPS:
            with arena.fault() as fault:
                fault.note(jump)
                for role, shift in jump.items():
                    set_clock(arena, role, shift)
                time.sleep(SEEN_SECONDS)
        assert hours_ahead(arena.lines("worker", "ready")) == 1
        assert "events_" not in dropped_days(arena, "+60d")
        figures = arena.finish()
        assert hours_ahead(arena.lines("bridge", "bridge.stopped")) == -1
        again = arena.lines("bridge", "bridge.dispatch_again")
    # Leases go by the database's clock; by their own, bridges would send every range again in every step.
    assert not [line for line in again if "works_too_long" in line]
    assert len(again) <= SENT_AGAIN_MOST
    assert figures.standstill_max_seconds is not None
    assert figures.standstill_max_seconds <= BOUND_SECONDS * arena.slowness


def dropped_days(arena: Arena, shift: str) -> str:
    """Drop the expired days on a host whose clock is wrong by this much; return the names of what went."""
    set_clock(arena, "beat", shift)
    program = "import django; django.setup(); from ingestion.partitions import drop_expired; print(drop_expired())"
    environment = {**os.environ, **arena.environment, **own_clock(arena, "beat")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def own_clock(arena: Arena, role: str) -> dict[str, str]:
    """Return the environment that gives a process a clock of its own, read from a file every second."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert found, "libfaketime is missing: apt-get install libfaketime"
    (arena.directory / "sitecustomize.py").write_text(SLEEP)
    return {
        "LD_PRELOAD": str(found[0]),
        "PYTHONPATH": str(arena.directory),
        "FAKETIME_TIMESTAMP_FILE": str(arena.directory / f"{role}.clock"),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def set_clock(arena: Arena, role: str, shift: str) -> None:
    """Let the clock of a process go wrong by this much, such as "+1h"."""
    (arena.directory / f"{role}.clock").write_text(shift)


def hours_ahead(lines: list[str]) -> int:
    """Return how far ahead the clock was that stamped the first of these lines, in hours."""
    stamp = re.match(r"\S+Z", lines[0])
    assert stamp, lines[0]
    return round((datetime.fromisoformat(stamp[0]) - datetime.now(UTC)).total_seconds() / 3600)
