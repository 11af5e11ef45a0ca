"""Row 16: the disk of the database is full."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sentinel.child import wait_until
from tests.faults.arena import Arena, Arenas
from tests.faults.servers import Servers

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk"),
]

DISK_MEGABYTES = 128
FREE_MEGABYTES = 6
FULL_SECONDS = 10.0
BOUND_SECONDS = 5.0


def test_row_16_a_full_disk_makes_ingestion_wait_and_says_so(arenas: Arenas) -> None:
    with (
        small_disk(arenas.servers) as disk,
        arenas.open(row="16", fault="PostgreSQL's disk full for 10 s", roles=[]) as arena,
    ):
        # A tablespace of its own: a full disk for the log of transactions stops the whole server, which is row 14.
        arena.witness.close()
        arena.servers.execute_as_superuser(f'ALTER DATABASE "{arena.name}" SET TABLESPACE small')
        arena.start("bridge")
        arena.start("worker")
        arena.start_load(per_second=1_000)
        with arena.fault() as fault:
            fill(disk)
            assert wait_until(lambda: not moves(arena), timeout_seconds=60)
            fault.begin()
            time.sleep(FULL_SECONDS)
            told = arena.json("partitions", "list")["partitions"]
            strikes = arena.witness.value("SELECT max(strikes) FROM ingestion_partitioncursor")
            (disk / "filler").unlink()
        refused = arena.lines("worker", "53100")
        figures = arena.finish()
    assert refused
    assert "docs/runbooks/postgres-away.md" in {item["runbook"] for item in told}
    assert strikes == 0
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness


@contextmanager
def small_disk(servers: Servers) -> Iterator[Path]:
    """Give a disk of its own with the tablespace `small`; the database in it must be gone in the end."""
    servers.ensure()
    disk = Path(tempfile.mkdtemp(prefix="sentinel-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs", disk], check=True)
    try:
        owner = (servers.directory / "postgres").stat()
        disk.chmod(0o711)
        place = disk / "small"
        place.mkdir(mode=0o700)
        os.chown(place, owner.st_uid, owner.st_gid)
        servers.execute_as_superuser(f"CREATE TABLESPACE small OWNER sentinel LOCATION '{place}'")
        yield disk
        servers.execute_as_superuser("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
        disk.rmdir()


def fill(disk: Path) -> None:
    """Leave a few megabytes."""
    megabytes = shutil.disk_usage(disk).free // 2**20 - FREE_MEGABYTES
    with (disk / "filler").open("wb") as filler:
        for _ in range(max(megabytes, 0)):
            filler.write(bytes(2**20))


def moves(arena: Arena) -> bool:
    """Tell whether some partition commits anything within two seconds."""
    before = [row.next_offset for row in arena.witness.cursor_rows()]
    time.sleep(2)
    return before != [row.next_offset for row in arena.witness.cursor_rows()]
