"""Series (project x service x model) and their roll-ups."""

from __future__ import annotations

from decimal import Decimal

from django.db import models

from ingestion.models.cursor import PartitionCursor
from ingestion.models.project import Project


class Series(models.Model):
    """What has one baseline per metric: calls of one service to one model."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="series")
    service = models.CharField(max_length=200)
    model = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["service", "model"]
        verbose_name_plural = "series"
        constraints = [models.UniqueConstraint(fields=["project", "service", "model"], name="one_series")]

    def __str__(self) -> str:
        return f"{self.service} / {self.model}"


def _exact(*, decimal_places: int, help_text: str = "") -> models.DecimalField[Decimal, Decimal]:
    """Return a column for sums that do not depend on the order or grouping of what is added, as floats do."""
    return models.DecimalField(max_digits=40, decimal_places=decimal_places, help_text=help_text)


class MetricRollup(models.Model):
    """Thirty seconds of one series as one partition saw it; readers sum over cursors.

    Rows belong to (cursor, series), so that partitions never share a row they write. Sketches are
    `ingestion.sketch` bytes. Partitioned by day on `window_start`.
    """

    pk = models.CompositePrimaryKey("cursor_id", "series_id", "window_start")
    cursor = models.ForeignKey(PartitionCursor, on_delete=models.DO_NOTHING, related_name="+")
    series = models.ForeignKey(Series, on_delete=models.DO_NOTHING, related_name="+")
    window_start = models.DateTimeField()
    events = models.BigIntegerField()
    weight = _exact(decimal_places=6, help_text="Sum of sample weights: what `events` stands for.")
    errors = models.BigIntegerField()
    late_events = models.BigIntegerField(help_text="Older than the partition's watermark allowed; not scored.")
    latency_count = models.BigIntegerField()
    latency_sum = _exact(decimal_places=3)
    latency_min = models.FloatField(null=True)
    latency_max = models.FloatField(null=True)
    latency_sketch = models.BinaryField(null=True)
    ttft_count = models.BigIntegerField()
    ttft_sum = _exact(decimal_places=3)
    ttft_sketch = models.BinaryField(null=True)
    tokens_count = models.BigIntegerField()
    prompt_tokens_sum = models.BigIntegerField()
    completion_tokens_sum = models.BigIntegerField()
    tokens_sketch = models.BinaryField(null=True)
    cost_count = models.BigIntegerField()
    cost_sum = _exact(decimal_places=9)
    cost_sketch = models.BinaryField(null=True)

    class Meta:
        db_table = "metric_rollup"

    def __str__(self) -> str:
        return f"{self.series_id} {self.window_start:%F %T}"
