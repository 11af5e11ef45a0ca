"""Celery tasks: one more interface to the core. Each calls one function."""

from __future__ import annotations

import structlog
from celery import shared_task
from django.conf import settings
from django.db import close_old_connections

from alerting import retention as alert_retention
from detection.baselines import BaselineStore
from detection.checkpoint import checkpoint_offsets
from detection.scattered import report_scattered
from ingestion import partitions, retention
from ingestion.clock import database_now
from ingestion.condition import Runbook
from ingestion.cursor import Dispatch
from ingestion.stalled import report_stalled
from sentinel.celery import INGEST_RANGE
from sentinel.cpu_limit import cpu_limit
from sentinel.exhaustion import end_worker_if_exhausted
from sentinel.outcome import Outcome, described
from sentinel.pipeline import pipeline
from sentinel.worker_process import parent_pid

logger = structlog.get_logger(__name__)

# Nothing failed, or not for want of anything.
SETTLED = frozenset({Outcome.COMMITTED, Outcome.STALE, Outcome.BUSY, Outcome.HALTED})


@shared_task(name=INGEST_RANGE, ignore_result=True)
def ingest_range(cursor_id: int, start: int, end: int, attempt: int) -> None:
    """Ingest one range of the log (`sentinel.pipeline`)."""
    outcome = None
    try:
        with cpu_limit(seconds=settings.SENTINEL_RECORD_CPU_SECONDS):
            outcome = pipeline().ingest(Dispatch(cursor_id, start, end, attempt))
    except Exception as error:  # noqa: BLE001  # The task boundary: a MemoryError beyond it kills the worker's parent.
        logger.error(
            "ingest.failed", cursor=cursor_id, start=start, attempt=attempt, error=described(error),
            runbook=Runbook.PARTITION_STALLED.path,
        )  # fmt: skip
    if outcome not in SETTLED:
        end_worker_if_exhausted(parent=parent_pid())


@shared_task(name="sentinel.housekeeping.ensure_partitions", ignore_result=True)
def ensure_partitions() -> None:
    """Make tomorrow's partitions today."""
    close_old_connections()
    if created := partitions.ensure_partitions():
        logger.info("partitions.created", names=created)


@shared_task(name="sentinel.housekeeping.drop_expired", ignore_result=True)
def drop_expired() -> None:
    """Drop the days that no project keeps."""
    close_old_connections()
    # No rebuild may need what is gone; a partition at work is left without a checkpoint, and its events stay.
    BaselineStore().checkpoint_idle(idle_seconds=0)
    needed_from = checkpoint_offsets()
    if dropped := partitions.drop_expired():
        logger.info("partitions.dropped", names=dropped)
    retention.delete_expired(needed_from=needed_from)
    alert_retention.drop_expired(now=database_now())


@shared_task(name="sentinel.housekeeping.checkpoint_idle", ignore_result=True)
def checkpoint_idle() -> None:
    """Write the baselines of partitions that nothing arrives in."""
    close_old_connections()
    BaselineStore().checkpoint_idle(idle_seconds=settings.SENTINEL_CHECKPOINT_SECONDS)


@shared_task(name="sentinel.housekeeping.measure_outbox", ignore_result=True)
def measure_outbox() -> None:
    """Set the gauges of what waits to be delivered."""
    close_old_connections()
    alert_retention.measure_outbox(now=database_now())


@shared_task(name="sentinel.housekeeping.report_stalled", ignore_result=True)
def report_stalled_partitions() -> None:
    """Raise the alarm on partitions that lag without progress."""
    close_old_connections()
    report_stalled()


@shared_task(name="sentinel.housekeeping.report_scattered", ignore_result=True)
def report_scattered_series() -> None:
    """Warn of series that arrive through several partitions."""
    close_old_connections()
    report_scattered()
