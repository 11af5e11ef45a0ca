"""Anomalies with their explanation, baselines, the levels they settled at, and the configurations in force."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from detection.models import Anomaly, Baseline, BaselineShift, DetectionConfig
from detection.profile import METRICS
from ingestion.record_admin import RecordAdmin, TimeRangeFilter, as_code

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
else:
    from unfold.admin import ModelAdmin

SEVERITY_COLOURS = {"low": "info", "medium": "warning", "high": "danger", "critical": "danger"}


class OfEventFilter(TimeRangeFilter):
    """Bounds the anomalies by the time of their event."""

    column = "timestamp"


class DetectedFilter(TimeRangeFilter):
    """Bounds the shifts by when they were noticed."""

    column = "detected_at"
    default = "7d"


@admin.register(Anomaly)
class AnomalyAdmin(RecordAdmin):
    """What was found, newest first; the explanation says what happened."""

    list_display = [
        "timestamp",
        "shown_severity",
        "explanation_shown",
        "service",
        "model",
        "anomaly_type",
        "detector_shown",
    ]
    list_display_links = ["timestamp", "explanation_shown"]
    list_filter = [OfEventFilter, "severity", "anomaly_type", "detection_method", "level", "metric", "project"]
    list_select_related = ["project"]
    search_fields = ["id"]
    search_help_text = "An anomaly's or an event's id, or the exact name of a service or a model"
    sortable_by = ()
    empty_hint = (
        "No anomaly in this time. A baseline serves from 10 samples on; `sentinel demo` injects faults that are found "
        "within a minute."
    )
    fieldsets = [
        (None, {"fields": ["explanation_shown", "shown_severity", "anomaly_type", "level", "confidence"]}),
        ("Series", {"fields": ["service", "model", "metric", "timestamp", "event_shown", "project"]}),
        ("Numbers", {"fields": [
            "observed", "direction", "lower", "upper", "baseline_mean", "baseline_stddev", "baseline_median", "z_score",
            "deviation", "threshold", "p_value", "samples", "window_size",
        ]}),
        ("How it was found", {"fields": [
            "detector_shown", "detectors", "details_shown", "config_version", "detected_at", "cursor", "log_offset", "id",
        ]}),
    ]  # fmt: skip

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Match whole values only."""
        term = search_term.strip()
        if not term:
            return queryset, False
        event_id = _as_uuid(term)
        if event_id is not None:
            return queryset.filter(pk=event_id) | queryset.filter(event_id=event_id), False
        return queryset.filter(service=term) | queryset.filter(model=term), False

    @display(description="severity", label=SEVERITY_COLOURS)  # type: ignore[untyped-decorator]
    def shown_severity(self, anomaly: Anomaly) -> str:
        """Show the severity as a coloured label."""
        return anomaly.severity

    @admin.display(description="explanation")
    def explanation_shown(self, anomaly: Anomaly) -> str:
        """Say what happened."""
        return anomaly.explanation

    @admin.display(description="detector")
    def detector_shown(self, anomaly: Anomaly) -> str:
        """Name the detector as the API does."""
        return anomaly.detector

    @admin.display(description="event", empty_value="of a window, not of an event")
    def event_shown(self, anomaly: Anomaly) -> SafeString | None:
        """Link to the event."""
        if anomaly.event_id is None:
            return None
        url = reverse("admin:ingestion_event_change", args=[anomaly.event_id])
        return format_html('<a class="text-primary-600" href="{}">{}</a>', url, anomaly.event_id)

    @admin.display(description="details")
    def details_shown(self, anomaly: Anomaly) -> SafeString:
        """Show what the method adds."""
        return as_code(anomaly.details)


def _as_uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


@admin.register(Baseline)
class BaselineAdmin(RecordAdmin):
    """One row per series and partition, as of its last checkpoint."""

    list_display = ["series", "cursor", "samples", *METRICS, "updated_at"]
    list_filter = ["series__project"]
    list_select_related = ["series", "series__project", "cursor"]
    search_fields = ["=series__service", "=series__model"]
    search_help_text = "The exact name of a service or a model"
    fields = ["series", "cursor", "next_offset", "summary_shown", "updated_at"]
    empty_hint = (
        "No baseline yet: the first is written with the first events. `sentinel demo` or `sentinel send` sends some."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Baseline]:
        """Leave the windows, which are large, where they are."""
        return super().get_queryset(request).defer("state")

    @admin.display(description="samples")
    def samples(self, baseline: Baseline) -> int:
        """Count the values of the fullest window."""
        return max((item["samples"] for item in baseline.summary.values()), default=0)

    @admin.display(description="Summary")
    def summary_shown(self, baseline: Baseline) -> SafeString:
        """Show every metric's statistics."""
        return as_code(baseline.summary)

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
    return f"{found['mean']:.4g} ± {found['stddev']:.3g}" if found else "-"


@admin.register(BaselineShift)
class BaselineShiftAdmin(RecordAdmin):
    """Levels that a series settled at after many values in a row beyond its fence."""

    list_display = ["detected_at", "series", "metric", "mean_before", "mean_after", "samples", "cursor", "log_offset"]
    list_display_links = ["detected_at"]
    list_filter = [DetectedFilter, "metric", "series__project"]
    list_select_related = ["series", "cursor"]
    empty_hint = "No series settled at a new level in this time."


@admin.register(DetectionConfig)
class DetectionConfigAdmin(ModelAdmin):  # type: ignore[type-arg]  # unfold's class takes no parameter at run time
    """Versions are added, never changed: a rebuild must find what was in force."""

    list_display = ["version", "project", "effective_from", "settings"]
    list_filter = ["project"]
    list_select_related = ["project"]
    fields = ["project", "settings"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: add a new version."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: batches name the version."""
        return False
