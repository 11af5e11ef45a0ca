"""The audit trail: one row per committed range of the log."""

from __future__ import annotations

from django.contrib.postgres.functions import TransactionNow
from django.db import models
from django.db.models.functions import Now

from ingestion.models.cursor import PartitionCursor


class Batch(models.Model):
    """A committed range [`start_offset`, `end_offset`); the rows of a cursor form a chain without gap or overlap.

    `end_offset - start_offset = stored + duplicates + rejected + late + control`. The anchor identifies the last
    record, so that the next read notices a log that was truncated and refilled.
    """

    cursor = models.ForeignKey(PartitionCursor, on_delete=models.PROTECT, related_name="batches")
    attempt = models.BigIntegerField()
    start_offset = models.BigIntegerField()
    end_offset = models.BigIntegerField()
    stored = models.IntegerField(default=0)
    duplicates = models.IntegerField(default=0)
    rejected = models.IntegerField(default=0)
    late = models.IntegerField(default=0)
    control = models.IntegerField(
        default=0,
        help_text="Offsets without a record: transaction markers, compaction.",
    )
    anomalies = models.IntegerField(default=0)
    unknown_fields = models.IntegerField(default=0)
    anchor_offset = models.BigIntegerField(null=True)
    anchor_timestamp_ms = models.BigIntegerField(null=True)
    anchor_crc = models.BigIntegerField(null=True)
    config_version = models.BigIntegerField(default=0)
    worker_build = models.CharField(max_length=80, blank=True)
    # The transaction's time, like `Event.ingested_at`: a rebuild finds the batch's events by it. `Now` is the statement's.
    created_at = models.DateTimeField(db_default=TransactionNow())

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "batches"
        constraints = [
            models.UniqueConstraint(fields=["cursor", "start_offset"], name="one_batch_per_start"),
        ]

    def __str__(self) -> str:
        return f"{self.cursor_id}:[{self.start_offset}, {self.end_offset})"


class ExpiredRows(models.Model):
    """How many rows of a cursor retention has removed from a table on a day: the audit adds them to those that are there."""

    cursor = models.ForeignKey(PartitionCursor, on_delete=models.PROTECT, related_name="expired_rows")
    table = models.CharField(max_length=63)
    removed_on = models.DateField(db_default=Now())
    rows = models.BigIntegerField()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "expired rows"
        constraints = [models.UniqueConstraint(fields=["cursor", "table", "removed_on"], name="one_expiry_per_day")]

    def __str__(self) -> str:
        return f"{self.rows} of {self.table}, {self.removed_on}"


class GapReason(models.TextChoices):
    """Why offsets were never ingested."""

    RETENTION = "retention", "The log removed them before they were ingested"
    TOPIC_RECREATED = "topic_recreated", "The topic was deleted and created again"
    CLOSED = "closed", "A person closed the partition"


class Gap(models.Model):
    """Offsets that left the log before they were ingested; each raised an alarm."""

    cursor = models.ForeignKey(PartitionCursor, on_delete=models.PROTECT, related_name="gaps")
    start_offset = models.BigIntegerField()
    end_offset = models.BigIntegerField()
    reason = models.CharField(max_length=100, choices=GapReason.choices)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["cursor", "start_offset"], name="one_gap_per_start")]

    def __str__(self) -> str:
        return f"{self.cursor_id}:[{self.start_offset}, {self.end_offset}) {self.reason}"
