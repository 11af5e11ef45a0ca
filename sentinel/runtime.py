"""What `sentinel up` runs right now: the record `runtime.json` in the data directory.

The supervisor rewrites it at every change of state; every other command reads it. Nothing here imports Django, so that
settings can read it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

FILE_NAME = "runtime.json"
FORMAT = 1
# Two processes with one pid are told apart by their start; a clock that is being corrected moves it a little.
START_TOLERANCE_SECONDS = 2.0


class State(StrEnum):
    """Where a supervised process stands."""

    STARTING = "starting"
    READY = "ready"
    CRASHED = "crashed"
    STOPPED = "stopped"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """One process as `sentinel status` shows it; times are seconds since the epoch."""

    name: str
    state: State
    pid: int | None = None
    started_at: float | None = None
    port: int | None = None
    url: str | None = None
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A supervisor, what it runs, and the environment that leads other commands to it."""

    pid: int
    started_at: float
    url: str
    environment: Mapping[str, str] = field(repr=False)  # holds passwords
    started: bool = False  # the start is over, be everything ready or not
    processes: tuple[ProcessRecord, ...] = ()

    @property
    def is_alive(self) -> bool:
        """Tell whether the supervisor still runs: a record outlives a supervisor that was killed."""
        return is_alive(self.pid, self.started_at)

    @property
    def is_ready(self) -> bool:
        """Tell whether every process says that it is ready."""
        return self.started and all(process.state in {State.READY, State.EXTERNAL} for process in self.processes)


def is_alive(pid: int, started_at: float) -> bool:
    """Tell whether process `pid` runs and is the one that started at `started_at` (not a later one of that pid)."""
    import psutil  # Only needed where a record exists: the import takes 20 ms.

    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started_at) <= START_TOLERANCE_SECONDS
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def start_time(pid: int) -> float:
    """Return when process `pid` started, in seconds since the epoch; raise `ProcessLookupError` if there is none."""
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error as error:
        raise ProcessLookupError(pid) from error


def read(directory: Path) -> Runtime | None:
    """Return the record in `directory`, be its supervisor alive or not; None if there is none that can be read."""
    try:
        content = json.loads((directory / FILE_NAME).read_bytes())
    except (OSError, ValueError):
        return None
    return _decode(content) if isinstance(content, dict) and content.get("format") == FORMAT else None


def _decode(content: Mapping[str, Any]) -> Runtime:
    return Runtime(
        pid=content["pid"],
        started_at=content["started_at"],
        url=content["url"],
        environment=content["environment"],
        started=content["started"],
        processes=tuple(ProcessRecord(**{**item, "state": State(item["state"])}) for item in content["processes"]),
    )


def write(directory: Path, runtime: Runtime) -> None:
    """Replace the record in `directory` at once (a reader sees the old one or the new one), readable by the owner alone."""
    temporary = directory / f".{FILE_NAME}.{os.getpid()}"
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps({"format": FORMAT, **asdict(runtime)}, indent=1), encoding="utf-8")
    temporary.replace(directory / FILE_NAME)


def remove(directory: Path) -> None:
    """Forget the record in `directory`, if there is one."""
    (directory / FILE_NAME).unlink(missing_ok=True)
