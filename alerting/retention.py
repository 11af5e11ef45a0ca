"""How full the outbox is, and how it is emptied: rows that are older than the retention go, in small batches."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models import Count, Min

from alerting.metrics import OUTBOX_DEPTH, OUTBOX_OLDEST_SECONDS
from alerting.models import AlertClaim, DeliveryAttempt, OutboxEntry
from alerting.reasons import EntryStatus

BATCH_ROWS = 5_000
_UNSETTLED = (EntryStatus.PENDING, EntryStatus.CLAIMED)


def measure_outbox(*, now: datetime) -> None:
    """Set the gauges of the outbox; both counts come from its partial indexes."""
    waiting = OutboxEntry.objects.filter(status__in=_UNSETTLED).aggregate(entries=Count("*"), oldest=Min("created_at"))
    OUTBOX_DEPTH.set(waiting["entries"])
    oldest = waiting["oldest"]
    OUTBOX_OLDEST_SECONDS.set(max((now - oldest).total_seconds(), 0.0) if oldest else 0.0)


def drop_expired(*, now: datetime, retention_days: int | None = None) -> int:
    """Delete settled entries, their attempts, and claims that are older than the retention; return how many rows.

    Each batch is its own statement, so that no lock is held for long. Entries that still wait are kept whatever their age.
    """
    days = settings.SENTINEL_RETENTION_DAYS if retention_days is None else retention_days
    before = now - timedelta(days=days)
    settled = OutboxEntry.objects.filter(created_at__lt=before).exclude(status__in=_UNSETTLED)
    return _drop_entries(settled) + _drop(AlertClaim.objects.filter(created_at__lt=before))


def _drop_entries(settled: models.QuerySet[OutboxEntry]) -> int:
    dropped = 0
    while ids := list(settled.values_list("pk", flat=True)[:BATCH_ROWS]):
        DeliveryAttempt.objects.filter(entry_id__in=ids).delete()
        dropped += OutboxEntry.objects.filter(pk__in=ids).delete()[0]
    return dropped


def _drop(claims: models.QuerySet[AlertClaim]) -> int:
    dropped = 0
    while ids := list(claims.values_list("pk", flat=True)[:BATCH_ROWS]):
        dropped += AlertClaim.objects.filter(pk__in=ids).delete()[0]
    return dropped
