"""Row 37: the disk that the processes log to is full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from mmap import PAGESIZE
from pathlib import Path

import pytest

from tests.faults.arena import Arenas

pytestmark = pytest.mark.fault

KILLS = 3
BOUND_SECONDS = 5.0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_row_37_a_full_log_disk_stops_nothing(arenas: Arenas) -> None:
    talkative = {"SENTINEL_LOG_LEVEL": "debug"}
    with (
        arenas.open(row="37", fault="log disk full", roles=[], environment=talkative) as arena,
        small_disk(arena.directory / "logs") as disk,
    ):
        for role in ("bridge", "worker"):
            arena.start(role)
        arena.start_load(per_second=1_000)
        with arena.fault():
            fill(disk)
        for _ in range(KILLS):
            with arena.fault() as fault:
                arena.kill_busy_child(fault)  # The worker has much to say about it.
        assert (disk / "worker.log").stat().st_size % PAGESIZE == 0  # cut off where the disk ends
        with arena.fault():
            arena.kill("worker")
            arena.wait_until_back("worker")
        figures = arena.finish()
        assert not arena.remarks  # Nobody had to be killed in the end.
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness


@contextmanager
def small_disk(directory: Path) -> Iterator[Path]:
    """Mount a disk of a megabyte on an empty directory."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(directory)], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(disk: Path) -> None:
    """Leave no byte free."""
    with (disk / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
