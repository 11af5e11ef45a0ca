"""What the worker's parent does with the end of a task."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Task as CeleryTask
from celery.worker.request import Request as CeleryRequest

from ingestion.condition import Runbook

logger = structlog.get_logger(__name__)


class Request(CeleryRequest):
    """A task in the hands of the worker's parent."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """Celery raises a task's `MemoryError` again, here in the parent, where it ends the whole worker."""
        try:
            super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)
        except MemoryError:
            logger.error("task.out_of_memory", task=self.name, task_id=self.id, runbook=Runbook.PARTITION_STALLED.path)


class Task(CeleryTask):  # type: ignore[type-arg]  # generic in the stubs only
    """Named by the application: every task of ours."""

    abstract = True
    Request = "sentinel.request:Request"
