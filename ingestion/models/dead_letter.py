"""Records that did not become events: rejected ones and late ones."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from ingestion.models.cursor import PartitionCursor
from ingestion.models.project import Project


class DeadLetterStatus(models.TextChoices):
    OPEN = "open"
    REPLAYED = "replayed"


class DeadLetter(models.Model):
    """A rejected record with the reason; its payload is scrubbed, and absent where the scrubber is the suspect."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="dead_letters")
    cursor = models.ForeignKey(PartitionCursor, on_delete=models.PROTECT, related_name="dead_letters")
    log_offset = models.BigIntegerField()
    records = models.PositiveIntegerField(
        default=1, help_text="More than one: rejected beyond the project's quota, counted from this offset on."
    )
    log_time = models.DateTimeField()
    stage = models.CharField(max_length=20)
    reason = models.CharField(max_length=40)
    field = models.CharField(max_length=200, blank=True)
    message = models.CharField(max_length=500, blank=True)
    size_bytes = models.IntegerField()
    sha256 = models.BinaryField(max_length=32)
    payload = models.TextField(blank=True)
    payload_cut = models.BooleanField(default=False, help_text="It was too long to keep whole, and cannot be replayed.")
    status = models.CharField(max_length=10, choices=DeadLetterStatus.choices, default=DeadLetterStatus.OPEN)
    replayed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["cursor", "log_offset"], name="one_dead_letter_per_offset")]
        indexes = [models.Index(fields=["project", "-created_at"], name="dead_letter_recent")]

    def __str__(self) -> str:
        return f"{self.cursor_id}@{self.log_offset} {self.reason}"


class LateEvent(models.Model):
    """A valid event whose timestamp lies outside what can be stored; kept, never counted."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="late_events")
    cursor = models.ForeignKey(PartitionCursor, on_delete=models.PROTECT, related_name="late_events")
    log_offset = models.BigIntegerField()
    log_time = models.DateTimeField()
    event_id = models.UUIDField()
    timestamp_us = models.BigIntegerField(help_text="Microseconds since 1970, UTC.")
    reason = models.CharField(max_length=40)
    payload = models.TextField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["cursor", "log_offset"], name="one_late_event_per_offset"),
            models.UniqueConstraint(fields=["project", "event_id", "timestamp_us"], name="one_late_event"),
        ]

    def __str__(self) -> str:
        return f"{self.event_id} {self.reason}"
