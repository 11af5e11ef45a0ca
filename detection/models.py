"""Anomalies, baselines, and the configurations that events are scored with."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Now

from detection.explain import explain
from detection.kinds import AnomalyType, DetectionMethod, Level, choices
from detection.profile import Profile, ProfileError
from detection.registry import DETECTORS
from detection.severity import Severity
from detection.verdict import ABOVE, BELOW

_LABELS = {kind.method: kind.label for kind in DETECTORS}


class Anomaly(models.Model):
    """Something unusual about one metric, of one event where `event_id` is set, with the numbers that say so.

    Written by the ingest transaction alone. Numbers are in the metric's unit; `deviation` and `threshold` are in the
    unit of `detection_method` (`verdict.Verdict` says which). Like `events` it refers to other rows without a database
    constraint, which would cost more than the row.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(
        "ingestion.Project", on_delete=models.CASCADE, related_name="anomalies", db_constraint=False, db_index=False
    )
    series = models.ForeignKey(
        "ingestion.Series", on_delete=models.SET_NULL, null=True, related_name="anomalies", db_constraint=False
    )
    service = models.CharField(max_length=200)
    model = models.CharField(max_length=200)
    metric = models.CharField(max_length=64)
    timestamp = models.DateTimeField(help_text="Of the event, or the end of the window, UTC.")
    detected_at = models.DateTimeField(db_default=Now())
    event_id = models.UUIDField(null=True, db_index=True)
    cursor = models.ForeignKey(
        "ingestion.PartitionCursor",
        on_delete=models.DO_NOTHING,
        null=True,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    log_offset = models.BigIntegerField(null=True)

    anomaly_type = models.CharField(max_length=32, choices=choices(AnomalyType))
    severity = models.CharField(max_length=8, choices=choices(Severity))
    level = models.CharField(max_length=8, choices=choices(Level), default=Level.RECORD.value)
    detection_method = models.CharField(max_length=32, choices=choices(DetectionMethod))
    detectors = models.JSONField(default=list, help_text="Every detector that fired.")
    direction = models.CharField(max_length=8, choices=[(ABOVE, "Above"), (BELOW, "Below")], blank=True)

    observed = models.FloatField()
    baseline_mean = models.FloatField(null=True)
    baseline_stddev = models.FloatField(null=True)
    baseline_median = models.FloatField(null=True)
    deviation = models.FloatField(help_text="Signed score of the detection method.")
    threshold = models.FloatField(help_text="The deviation beyond which the method fires.")
    lower = models.FloatField(null=True)
    upper = models.FloatField(null=True)
    z_score = models.FloatField(null=True, help_text="Null where the baseline has no spread.")
    p_value = models.FloatField(null=True)
    confidence = models.FloatField(help_text="1 - p, shrunk by the sample size.")
    window_size = models.IntegerField(null=True)
    samples = models.IntegerField(null=True)
    details = models.JSONField(default=dict)
    config_version = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["-timestamp"]
        verbose_name_plural = "anomalies"
        indexes = [
            models.Index(fields=["project", "-timestamp", "-id"], name="anomaly_recent"),
            models.Index(fields=["project", "service", "severity", "-timestamp"], name="anomaly_service_severity"),
        ]

    def __str__(self) -> str:
        return f"{self.severity} {self.anomaly_type} of {self.service} / {self.model}"

    @property
    def detector(self) -> str:
        """The detection method in the spelling of the query API ("zscore")."""
        return _LABELS.get(self.detection_method, self.detection_method)

    @property
    def explanation(self) -> str:
        """A sentence that says what happened, made from the stored numbers."""
        mean = self.baseline_mean or 0.0
        return explain(
            metric=self.metric,
            observed=self.observed,
            mean=mean,
            median=mean if self.baseline_median is None else self.baseline_median,
            direction=self.direction,
            method=self.detection_method,
            deviation=self.deviation,
            threshold=self.threshold,
            flat=bool(self.details.get("flat")),
            detectors=self.detectors,
            samples=self.samples or 0,
        )


class Baseline(models.Model):
    """The checkpoint of one series of one partition: its encoded state at `next_offset`, and what the API shows of it.

    A checkpoint writes the series touched since the last one, so that all rows of a cursor together stand for the
    largest `next_offset` among them.
    """

    cursor = models.ForeignKey("ingestion.PartitionCursor", on_delete=models.CASCADE, related_name="baselines")
    series = models.ForeignKey("ingestion.Series", on_delete=models.CASCADE, related_name="baselines")
    batch_id = models.BigIntegerField(help_text="The batch whose transaction wrote it; it ended at `next_offset`.")
    next_offset = models.BigIntegerField()
    state = models.BinaryField()
    # {metric: {samples, mean, stddev, median, p95, p99, min, max}}, in the metric's unit
    summary = models.JSONField(default=dict)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["series_id", "cursor_id"]
        constraints = [models.UniqueConstraint(fields=["cursor", "series"], name="one_baseline_per_series")]

    def __str__(self) -> str:
        return f"{self.series} at {self.next_offset}"


class BaselineShift(models.Model):
    """A series settled at a new level: from `log_offset` on, that level is its baseline."""

    cursor = models.ForeignKey("ingestion.PartitionCursor", on_delete=models.CASCADE, related_name="+")
    series = models.ForeignKey("ingestion.Series", on_delete=models.CASCADE, related_name="shifts")
    metric = models.CharField(max_length=64)
    log_offset = models.BigIntegerField()
    samples = models.IntegerField()
    mean_before = models.FloatField()
    stddev_before = models.FloatField()
    mean_after = models.FloatField()
    stddev_after = models.FloatField()
    detected_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["cursor", "series", "metric", "log_offset"], name="one_shift_per_offset")
        ]

    def __str__(self) -> str:
        return f"{self.series} {self.metric}: {self.mean_before:g} to {self.mean_after:g}"


def check_settings(value: object) -> None:
    """Raise `ValidationError` unless `value` is a detection configuration."""
    try:
        Profile.from_dict(value)  # type: ignore[arg-type]  # says itself what is no mapping
    except ProfileError as error:
        raise ValidationError(str(error)) from None


class DetectionConfig(models.Model):
    """A version of the detection settings, of one project or of all. Never changed: batches name the version.

    Version 0 has no row: the documented defaults.
    """

    version = models.BigAutoField(primary_key=True)
    project = models.ForeignKey(
        "ingestion.Project",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="detection_configs",
        help_text="Empty: every project that has none of its own.",
    )
    settings = models.JSONField(default=dict, blank=True, validators=[check_settings])
    effective_from = models.DateTimeField(db_default=Now(), help_text="Batches that are scored later use it.")

    class Meta:
        ordering = ["-version"]

    def __str__(self) -> str:
        return f"version {self.version}"

    def save(self, **kwargs: Any) -> None:
        """Insert the version; raise `ValidationError` for one that exists: a rebuild must find what was in force."""
        if not self._state.adding:
            raise ValidationError("A configuration is not changed; add a new version.")
        super().save(**kwargs)
