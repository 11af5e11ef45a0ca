from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sentinel import leftovers, runtime
from sentinel.installation import Lock
from sentinel.runtime import ProcessRecord, Runtime, State

DEAD = 2**22 - 1


@pytest.fixture
def survivor() -> Iterator[subprocess.Popen[bytes]]:
    """Give a process that outlived its supervisor."""
    with subprocess.Popen(["sleep", "1000"], process_group=0) as process:
        yield process
        process.kill()


def write_record(directory: Path, process: subprocess.Popen[bytes], *, started_at: float) -> None:
    left = ProcessRecord(name="worker", state=State.READY, pid=process.pid, started_at=started_at)
    runtime.write(directory, Runtime(pid=DEAD, started_at=1.0, url="", environment={}, processes=(left,)))


def test_what_a_killed_supervisor_left_running_is_ended(survivor: subprocess.Popen[bytes], tmp_path: Path) -> None:
    write_record(tmp_path, survivor, started_at=runtime.start_time(survivor.pid))
    assert leftovers.clear(tmp_path) == ["worker"]
    assert survivor.wait(timeout=10) != 0
    assert runtime.read(tmp_path) is None


def test_a_stranger_that_got_the_pid_of_a_process_is_left_alone(
    survivor: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    write_record(tmp_path, survivor, started_at=runtime.start_time(survivor.pid) - 3600)
    assert leftovers.clear(tmp_path) == []
    assert survivor.poll() is None


def test_nothing_is_cleared_while_a_supervisor_holds_the_lock(
    survivor: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    write_record(tmp_path, survivor, started_at=runtime.start_time(survivor.pid))
    lock = Lock(tmp_path)
    assert lock.acquire()
    assert leftovers.clear_if_unlocked(tmp_path) == []
    assert survivor.poll() is None
    lock.release()
    assert leftovers.clear_if_unlocked(tmp_path) == ["worker"]


def test_a_directory_without_a_record_holds_nothing(tmp_path: Path) -> None:
    assert leftovers.clear(tmp_path) == []
    assert leftovers.clear_if_unlocked(tmp_path / "missing") == []
    assert list(tmp_path.iterdir()) == []
