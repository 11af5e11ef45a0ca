"""CPU seconds of groups of processes, children included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psutil


def tree_seconds(pid: int) -> float:
    """Return user and system seconds of a process and all it started, those that have ended included.

    A child that ended counts through its parent's `children_*` times; a process that vanishes meanwhile counts zero.
    """
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(_own_seconds(member) for member in family)


def _own_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0
    ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return float(times.user + times.system + ended)


@dataclass(frozen=True, slots=True)
class CpuMeter:
    """Measures from its making on; `groups` maps a name to the root processes of the group."""

    groups: Mapping[str, tuple[int, ...]]
    started: Mapping[str, float]

    @classmethod
    def start(cls, processes: Iterable[tuple[str, int]]) -> CpuMeter:
        groups: dict[str, tuple[int, ...]] = {}
        for name, pid in processes:
            groups[name] = (*groups.get(name, ()), pid)
        return cls(groups, _seconds(groups))

    def seconds(self) -> dict[str, float]:
        """Return what each group has used since the start."""
        return {name: used - self.started[name] for name, used in _seconds(self.groups).items()}


def _seconds(groups: Mapping[str, tuple[int, ...]]) -> dict[str, float]:
    return {name: sum(tree_seconds(pid) for pid in pids) for name, pids in groups.items()}
