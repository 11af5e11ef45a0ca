"""What must not grow in a long run: memory and file descriptors of each process, connections to the database."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import psutil
import psycopg2

from tests.faults.witness import Witness

SAMPLE_SECONDS = 5.0
# Caches fill at first: what a process does in its first minutes says nothing about a leak.
WARM_UP_SECONDS = 120.0
# Shorter lives have no slope.
MIN_SPAN_SECONDS = 240.0
MEGABYTE = 1024 * 1024


@dataclass(slots=True)
class Life:
    """Samples of one process: seconds since its start, resident megabytes, open file descriptors."""

    name: str
    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Slope:
    """What a process gained per hour, by a straight line through its samples after the warm-up."""

    name: str
    span_seconds: float
    megabytes_per_hour: float
    descriptors_per_hour: float


class Growth:
    """Samples from a thread while the `with` block runs. `processes` names those that live now."""

    def __init__(self, processes: Callable[[], Iterable[tuple[str, psutil.Process]]], database_url: str) -> None:
        self._processes = processes
        self._witness = Witness(database_url, topic="")
        self._lives: dict[tuple[str, int, float], Life] = {}
        self.connections: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="growth", daemon=True)

    def __enter__(self) -> Growth:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)
        self._witness.close()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            for name, process in self._processes():
                try:
                    self._sample(name, process)
                except psutil.Error:
                    continue  # It has just ended: the next one has another life.
            try:
                self.connections.append(self._witness.value("SELECT count(*) FROM pg_stat_activity"))
            except psycopg2.Error:
                continue  # PostgreSQL is what has been killed.

    def _sample(self, name: str, process: psutil.Process) -> None:
        born = process.create_time()
        life = self._lives.setdefault((name, process.pid, born), Life(name))
        life.seconds.append(time.time() - born)
        life.megabytes.append(process.memory_info().rss / MEGABYTE)
        life.descriptors.append(process.num_fds())

    def slopes(self) -> Sequence[Slope]:
        """Return the slope of every life that was long enough."""
        return [slope for life in self._lives.values() if (slope := _slope(life)) is not None]

    def median_slopes(self) -> dict[str, Slope]:
        """Return for each name the slope that is in the middle by memory: one short life proves nothing."""
        by_name: dict[str, list[Slope]] = defaultdict(list)
        for slope in self.slopes():
            by_name[slope.name].append(slope)
        return {
            name: sorted(found, key=lambda slope: slope.megabytes_per_hour)[len(found) // 2]
            for name, found in by_name.items()
        }

    def connections_gained(self) -> float:
        """Return by how much the median of connections in the last quarter exceeds that of the second."""
        quarter = len(self.connections) // 4
        if not quarter:
            return 0.0
        return float(np.median(self.connections[-quarter:]) - np.median(self.connections[quarter : 2 * quarter]))


def _slope(life: Life) -> Slope | None:
    seconds = np.array(life.seconds)
    warm = seconds >= WARM_UP_SECONDS
    if warm.sum() < 2 or np.ptp(seconds[warm]) < MIN_SPAN_SECONDS:
        return None
    hours = seconds[warm] / 3600
    return Slope(
        life.name,
        float(np.ptp(seconds[warm])),
        float(np.polyfit(hours, np.array(life.megabytes)[warm], 1)[0]),
        float(np.polyfit(hours, np.array(life.descriptors)[warm], 1)[0]),
    )
