"""What a worker's child process does before its first task and after its last."""

from __future__ import annotations

import gc
from typing import Any

from celery.signals import worker_process_init, worker_process_shutdown
from django.db import connections

# A batch makes hundreds of thousands of objects that die young and hold no cycles; looking for cycles among them as
# often as by default takes a tenth of the worker's time.
COLLECT_AFTER = (100_000, 50, 50)


@worker_process_init.connect
def prepare(**_: Any) -> None:
    """Share nothing with the parent: its database connection is closed, its objects are never collected here."""
    connections.close_all()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


@worker_process_shutdown.connect
def close(**_: Any) -> None:
    """Close what the pipeline holds, so that its sessions end at once."""
    from sentinel.pipeline import pipeline

    if pipeline.cache_info().currsize:
        pipeline().close()
    connections.close_all()
