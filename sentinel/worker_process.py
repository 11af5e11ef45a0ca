"""What a worker's child process does before its first task and after its last."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import time
from typing import Any

from celery.signals import task_postrun, worker_process_init, worker_process_shutdown
from django.db import connections

# A batch makes hundreds of thousands of objects that die young and hold no cycles; looking for cycles among them as
# often as by default takes a tenth of the worker's time.
COLLECT_AFTER = (100_000, 50, 50)
# An error and the frames of its traceback hold each other, and so do the parts of a client that is thrown away after
# one: megabytes for each time that a server is away, which nobody would look for in hours. Looking takes some 10 ms.
COLLECT_SECONDS = 30.0
# A deploy may send them to the whole process group. The parent finishes what has begun, so its children carry on; when
# the parent itself dies they are killed (Celery sets the parent-death signal).
FOR_THE_PARENT = (signal.SIGTERM, signal.SIGHUP)

_parent: int | None = None
_collected_at = time.monotonic()


def parent_pid() -> int | None:
    """Return the worker that this process of a pool belongs to; None in any other process."""
    return _parent


@worker_process_init.connect
def prepare(**_: Any) -> None:
    """Share nothing with the parent: its database connection is closed, its objects are never collected here."""
    global _parent
    _parent = os.getppid()
    for number in FOR_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    # A core file holds the texts that were being scrubbed.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connections.close_all()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


@task_postrun.connect
def collect_cycles(**_: Any) -> None:
    """Free what has died in cycles, now and then, between two tasks."""
    global _collected_at
    if time.monotonic() - _collected_at >= COLLECT_SECONDS:
        gc.collect()
        _give_back()
        _collected_at = time.monotonic()


@worker_process_shutdown.connect
def close(**_: Any) -> None:
    """Close what the pipeline holds, so that its sessions end at once."""
    from sentinel.pipeline import pipeline

    if pipeline.cache_info().currsize:
        pipeline().close()
    connections.close_all()
    # From here on the parent hurries an idle process by SIGTERM.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _give_back() -> None:
    """Return free memory to the system.

    A long batch after an outage is freed around the few small things that stay; the C library keeps all below them.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others do as they please
    if trim is not None:
        trim(0)
