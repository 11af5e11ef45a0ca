"""What a supervisor that was killed has left running."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sentinel import runtime
from sentinel.child import wait_until
from sentinel.installation import Lock
from sentinel.runtime import ProcessRecord

# The kernel has asked them to stop when the supervisor died; PostgreSQL may be writing its checkpoint.
GRACE_SECONDS = 30.0


def clear(directory: Path) -> list[str]:
    """End what an earlier supervisor of `directory` left running, and its record; return the names of the processes.

    The caller holds the lock of the installation, so that nothing found here belongs to a living supervisor.
    """
    record = runtime.read(directory)
    if record is None:
        return []
    left = [process for process in record.processes if _is_alive(process)]
    for process in left:
        _signal_group(process, signal.SIGTERM)
    if not wait_until(lambda: not _alive(left), timeout_seconds=GRACE_SECONDS, poll_seconds=0.05):
        for process in _alive(left):
            _signal_group(process, signal.SIGKILL)
    runtime.remove(directory)
    return [process.name for process in left]


def clear_if_unlocked(directory: Path) -> list[str]:
    """Do the same for a caller without the lock; nothing while a supervisor holds it."""
    if not directory.is_dir():
        return []
    lock = Lock(directory)
    try:
        return clear(directory) if lock.acquire() else []
    finally:
        lock.release()


def _alive(processes: Sequence[ProcessRecord]) -> list[ProcessRecord]:
    return [process for process in processes if _is_alive(process)]


def _is_alive(process: ProcessRecord) -> bool:
    if process.pid is None or process.started_at is None:
        return False
    return runtime.is_alive(process.pid, process.started_at)


def _signal_group(process: ProcessRecord, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        assert process.pid is not None
        os.killpg(process.pid, number)
