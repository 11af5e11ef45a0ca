"""The only truth about how far a partition of the log has been ingested."""

from __future__ import annotations

from django.db import models

from ingestion.models.project import Project


class Phase(models.TextChoices):
    """What the current attempt was doing when it last said so."""

    READ = "read"
    DECODE = "decode"
    SCRUB = "scrub"
    STORE = "store"
    DETECT = "detect"


class PartitionCursor(models.Model):
    """Position, current attempt and suspicion of one partition.

    Every write to the attempt fields is a compare-and-set on (`next_offset`, `attempt`). An attempt is alive exactly
    while its worker holds the session advisory lock of this row.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="cursors")
    # Offsets alone do not identify records: a recreated topic or another cluster answers at the same offset.
    cluster_id = models.CharField(max_length=64)
    topic_id = models.CharField(max_length=64)
    topic = models.CharField(max_length=249)
    partition = models.PositiveIntegerField()
    next_offset = models.BigIntegerField(default=0)

    attempt = models.BigIntegerField(default=0)
    dispatched_end = models.BigIntegerField(null=True)
    dispatched_at = models.DateTimeField(null=True)
    dispatches = models.PositiveIntegerField(default=0, help_text="How often the current range was dispatched.")
    started_at = models.DateTimeField(null=True)
    ended_attempt = models.BigIntegerField(default=0, help_text="The last attempt that ended by any path but death.")
    phase = models.CharField(max_length=10, choices=Phase.choices, blank=True)
    retry_at = models.DateTimeField(null=True, help_text="Not dispatched before: the last attempt failed or was busy.")
    last_error = models.CharField(max_length=300, blank=True)
    backend_pid = models.IntegerField(null=True)
    backend_start = models.DateTimeField(null=True)

    strikes = models.PositiveSmallIntegerField(default=0)
    suspect_end = models.BigIntegerField(null=True)
    halted_reason = models.CharField(max_length=300, blank=True)

    stage_batches = models.PositiveSmallIntegerField(
        default=0,
        help_text="Batches that still go through the staging table, after a duplicate was met.",
    )
    # The largest min(event time, log time) seen: window detectors wait for it.
    watermark = models.DateTimeField(null=True)
    progressed_at = models.DateTimeField(auto_now_add=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["topic", "partition"]
        constraints = [
            models.UniqueConstraint(
                fields=["cluster_id", "topic_id", "partition"],
                name="one_cursor_per_partition",
            )
        ]

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"
