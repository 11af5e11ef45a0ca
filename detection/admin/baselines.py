"""Baselines, and the levels that series settled at."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from detection.explain import measured, with_unit
from detection.models import Baseline, BaselineShift
from detection.profile import METRICS
from ingestion.record_admin import RecordAdmin, TimeRangeFilter
from ingestion.record_cells import NOTHING, as_table, figure, link

STATISTICS = ("samples", "mean", "stddev", "median", "p95", "p99", "min", "max")


class DetectedFilter(TimeRangeFilter):
    """Bounds the shifts by when they were noticed."""

    column = "detected_at"
    default = "7d"


@admin.register(Baseline)
class BaselineAdmin(RecordAdmin):
    """One row per series and partition, as of its last checkpoint."""

    list_display = ["series", "samples", *METRICS, "related", "cursor", "updated_at"]
    list_display_links = ["series"]
    list_filter = ["series__project"]
    list_select_related = ["series", "series__project", "cursor"]
    search_fields = ["=series__service", "=series__model"]
    search_help_text = "The exact name of a service or a model"
    fields = ["series", "summary_shown", "related", "cursor", "next_offset", "updated_at"]
    empty_hint = (
        "No baseline yet: the first is written with the first events. `sentinel demo` or `sentinel send` sends some."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Baseline]:
        """Leave the windows, which are large, where they are."""
        return super().get_queryset(request).defer("state")

    @admin.display(description="samples")
    def samples(self, baseline: Baseline) -> str:
        """Count the values of the fullest window."""
        return figure(max((item["samples"] for item in baseline.summary.values()), default=0))

    @admin.display(description="related")
    def related(self, baseline: Baseline) -> SafeString:
        """Link to what was found against it."""
        query = {"series": baseline.series_id, "range": "7d"}
        return link("anomalies", "detection_anomaly_changelist", query=query)

    @admin.display(description="Statistics")
    def summary_shown(self, baseline: Baseline) -> SafeString:
        """Show every metric's statistics."""
        metrics = [metric for metric in METRICS if metric in baseline.summary]
        rows = [
            [name, *(_statistic(baseline.summary[metric].get(name), name, metric) for metric in metrics)]
            for name in STATISTICS
        ]
        return as_table(["", *metrics], rows)

    @admin.display(description="latency, ms")
    def latency_ms(self, baseline: Baseline) -> str:
        """Show mean ± standard deviation."""
        return _spread(baseline, "latency_ms")

    @admin.display(description="tokens")
    def total_tokens(self, baseline: Baseline) -> str:
        """Show mean ± standard deviation."""
        return _spread(baseline, "total_tokens")

    @admin.display(description="cost, USD")
    def cost_usd(self, baseline: Baseline) -> str:
        """Show mean ± standard deviation."""
        return _spread(baseline, "cost_usd")


def _spread(baseline: Baseline, metric: str) -> str:
    found = baseline.summary.get(metric)
    return f"{figure(found['mean'])} ± {figure(found['stddev'])}" if found else NOTHING


def _statistic(value: float | None, name: str, metric: str) -> str:
    return figure(value) if name == "samples" else measured(value, metric)


@admin.register(BaselineShift)
class BaselineShiftAdmin(RecordAdmin):
    """Levels that a series settled at after many values in a row beyond its fence."""

    list_display = ["detected_at", "series", "metric", "before", "after", "samples", "cursor", "log_offset"]
    list_display_links = ["detected_at"]
    list_filter = [DetectedFilter, "metric", "series__project"]
    list_select_related = ["series", "cursor"]
    empty_hint = "No series settled at a new level in this time."

    @admin.display(description="mean before")
    def before(self, shift: BaselineShift) -> str:
        """Show the level that was left."""
        return with_unit(shift.mean_before, shift.metric)

    @admin.display(description="mean after")
    def after(self, shift: BaselineShift) -> str:
        """Show the level that was reached."""
        return with_unit(shift.mean_after, shift.metric)
