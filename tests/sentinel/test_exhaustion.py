"""A worker that gets no file or no memory any more ends, so that another takes its place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from sentinel.exhaustion import Resource, exhausted
from tests.sentinel.pipeline.conftest import Partition, event, partition
from tests.sentinel.running_worker import dispatch_all, running_worker

__all__ = ["partition"]  # the fixture

LIMITED = """
import os, resource
from sentinel.exhaustion import exhausted
{limit}
print(exhausted())
"""
NO_FILES = "resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir('/proc/self/fd')),) * 2)"
NO_MEMORY = (
    "resource.setrlimit(resource.RLIMIT_AS, (int(open('/proc/self/statm').read().split()[0]) * 4096 + 2**20,) * 2)"
)


def test_a_process_that_gets_everything_is_not_exhausted() -> None:
    assert exhausted() is None


@pytest.mark.parametrize(
    ("limit", "resource"), [(NO_FILES, Resource.FILE_DESCRIPTORS), (NO_MEMORY, Resource.MEMORY)], ids=list(Resource)
)
def test_a_process_knows_what_it_gets_no_more_of(limit: str, resource: Resource) -> None:
    command = [sys.executable, "-c", LIMITED.format(limit=limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == resource


@pytest.mark.slow
@pytest.mark.usefixtures("redis_server")
def test_a_worker_whose_process_may_open_no_file_ends(partition: Partition, tmp_path: Path) -> None:
    with running_worker(tmp_path) as worker:
        (child,) = worker.children()
        child.rlimit(psutil.RLIMIT_NOFILE, (3, 3))
        partition.append(event())
        dispatch_all(partition)
        assert worker.process.wait(timeout=20) == 0, worker.log
        assert "worker.exhausted" in worker.log
    assert partition.cursor.next_offset < partition.end
