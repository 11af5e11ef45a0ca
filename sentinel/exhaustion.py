"""What a worker's process does when the system gives it nothing more: no file descriptor, no memory.

It would take one range after the other and fail with each, faster than its siblings can work. Its parent has the same
limits, so a successor would fare no better: the parent is asked to stop, and whoever looks after the worker starts it
again.
"""

from __future__ import annotations

import enum
import mmap
import os
import signal
from contextlib import ExitStack
from pathlib import Path

import structlog

from ingestion.condition import Runbook

logger = structlog.get_logger(__name__)

# What a new connection to the log takes, and what the smallest batch takes.
SPARE_FILES = 8
SPARE_BYTES = 32 * 2**20
EXIT_CODE = 70


class Resource(enum.StrEnum):
    """What a process can run out of."""

    FILE_DESCRIPTORS = "file_descriptors"
    MEMORY = "memory"


def exhausted() -> Resource | None:
    """Return what this process gets no more of; None where the fault lies with what it has tried."""
    try:
        with ExitStack() as opened:
            for _ in range(SPARE_FILES):
                opened.enter_context(Path(os.devnull).open("rb", buffering=0))
    except OSError:
        return Resource.FILE_DESCRIPTORS
    except MemoryError:
        return Resource.MEMORY
    try:
        mmap.mmap(-1, SPARE_BYTES).close()
    except (OSError, MemoryError):
        return Resource.MEMORY
    return None


def end_worker_if_exhausted(*, parent: int | None) -> None:
    """Ask the worker for a clean end, and end this process of its pool, if it is exhausted.

    Called when an attempt has ended. `parent` is None in processes that belong to no pool: they go on.
    """
    if parent is not None and (resource := exhausted()) is not None:
        logger.error("worker.exhausted", resource=resource, pid=os.getpid(), runbook=Runbook.PARTITION_STALLED.path)
        os.kill(parent, signal.SIGTERM)
        os._exit(EXIT_CODE)  # Whatever Celery does to end it needs files or memory.
