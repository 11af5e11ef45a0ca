"""Row 40: everything at random, for long. `make soak MINUTES=30`; the seed is printed, SENTINEL_FAULTS_SEED repeats it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import psutil
import pytest

from tests.faults.arena import Arena, Arenas
from tests.faults.chaos import Chaos
from tests.faults.growth import MIN_SPAN_SECONDS, WARM_UP_SECONDS, Growth

pytestmark = pytest.mark.soak

MINUTES_VARIABLE = "SENTINEL_SOAK_MINUTES"
PER_SECOND_VARIABLE = "SENTINEL_SOAK_PER_SECOND"
DRAIN_SECONDS = 900.0
MAX_MEGABYTES_PER_HOUR = 60.0
MAX_DESCRIPTORS_PER_HOUR = 12.0
MAX_CONNECTIONS_GAINED = 3.0
# Nobody kills these, whatever is done to the servers under them: what leaks shows in a long life.
WITNESSES = {"steady-bridge": "bridge", "steady-worker": "worker"}
MEASURED = {*WITNESSES, "steady-worker child"}
# Of what was to be sent: a producer that falls behind after an outage does not make up for it.
MIN_SHARE = 0.95
MAX_SECONDS_PER_FAULT = 15.0
# By then a process has a slope.
MIN_MINUTES = (WARM_UP_SECONDS + MIN_SPAN_SECONDS) / 60 + 1


def living(arena: Arena) -> Iterable[tuple[str, psutil.Process]]:
    """Return the witnesses and the worker's children, as far as they live."""

    def found() -> Iterator[tuple[str, psutil.Process]]:
        for name in WITNESSES:
            pid = arena.crew.record(name).pid
            if pid is not None:
                process = psutil.Process(pid)
                yield name, process
                yield from ((f"{name} child", child) for child in process.children())

    try:
        return list(found())
    except psutil.NoSuchProcess:
        return []


def test_row_40_nothing_is_lost_doubled_or_leaked_in_a_long_storm(arenas: Arenas) -> None:
    minutes = float(os.environ.get(MINUTES_VARIABLE, "30"))
    per_second = float(os.environ.get(PER_SECOND_VARIABLE, "5000"))
    with arenas.open(row="40", fault=f"{minutes:g} minutes of random faults at {per_second:,.0f} events/s") as arena:
        for name, command in WITNESSES.items():
            arena.start(name, command)
        arena.start_load(per_second=per_second)
        chaos = Chaos(arena)
        with Growth(lambda: living(arena), arena.database_url) as growth:
            chaos.run(seconds=minutes * 60)
        print(f"faults: {dict(chaos.injected)}")
        for slope in growth.median_slopes().values():
            print(slope)
        arena.remarks.append(f"{chaos.injected.total()} faults of {len(chaos.injected)} kinds")
        arena.finish(drain_seconds=DRAIN_SECONDS)
    assert arena.load.acknowledged >= MIN_SHARE * per_second * minutes * 60
    assert chaos.injected.total() >= minutes * 60 / MAX_SECONDS_PER_FAULT
    slopes = growth.median_slopes()
    assert slopes.keys() >= MEASURED or minutes < MIN_MINUTES, slopes
    for slope in slopes.values():
        assert slope.megabytes_per_hour < MAX_MEGABYTES_PER_HOUR, slope
        assert slope.descriptors_per_hour < MAX_DESCRIPTORS_PER_HOUR, slope
    assert growth.connections_gained() <= MAX_CONNECTIONS_GAINED, growth.connections
