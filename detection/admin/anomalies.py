"""Anomalies with their explanation, and the way from each to its event, series, baseline and alerts."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import display

from detection.explain import measured, with_unit
from detection.models import Anomaly
from ingestion.models import Project
from ingestion.record_admin import RecordAdmin, TimeRangeFilter
from ingestion.record_cells import NOTHING, as_list, as_pairs, figure, link, links

SEVERITY_COLOURS = {"low": "info", "medium": "warning", "high": "danger", "critical": "danger"}


class OfEventFilter(TimeRangeFilter):
    """Bounds the anomalies by the time of their event; an id is looked up at any time."""

    column = "timestamp"

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        super().__init__(request, *args)
        self._by_id = _as_uuid(request.GET.get("q", "")) is not None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep what happened within the range; the projects are named so that the index (project, time) serves."""
        if self._by_id:
            return queryset
        projects = list(Project.objects.values_list("pk", flat=True))
        return super().queryset(request, queryset).filter(project__in=projects)


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
        (None, {"fields": ["explanation_shown", "shown_severity", "anomaly_type", "level", "confidence_shown", "related"]}),
        ("What was measured", {"fields": [
            "metric", "observed_shown", "direction", "usual_shown", "range_shown", "timestamp", "service", "model",
            "project",
        ]}),
        ("How it was found", {"fields": [
            "detector_shown", "detectors_shown", "deviation_shown", "z_score_shown", "p_value_shown", "samples_shown",
            "details_shown", "config_version", "detected_at",
        ]}),
        ("Where from", {"fields": ["event_id", "cursor", "log_offset", "id"]}),
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

    @admin.display(description="related")
    def related(self, anomaly: Anomaly) -> SafeString:
        """Link to the event, its series and baseline, and what was alerted."""
        series = {"service": anomaly.service, "model": anomaly.model, "project": anomaly.project_id}
        found = [
            link("series", "ingestion_series_changelist", query=series),
            link("baseline", "detection_baseline_changelist", query={"series": anomaly.series_id or 0}),
            link("alerts", "alerting_outboxentry_changelist", query={"anomaly_id": anomaly.pk, "range": "30d"}),
        ]
        if anomaly.event_id is not None:
            found.insert(0, link("event", "ingestion_event_change", anomaly.event_id))
        return links(*found)

    @admin.display(description="observed")
    def observed_shown(self, anomaly: Anomaly) -> str:
        """Show the value with its unit."""
        return with_unit(anomaly.observed, anomaly.metric)

    @admin.display(description="baseline")
    def usual_shown(self, anomaly: Anomaly) -> SafeString:
        """Show what the value was compared with."""
        mean, deviation, median = anomaly.baseline_mean, anomaly.baseline_stddev, anomaly.baseline_median
        rows = {"mean": mean, "standard deviation": deviation, "median": median}
        return as_pairs({name: measured(value, anomaly.metric) for name, value in rows.items()})

    @admin.display(description="usual range")
    def range_shown(self, anomaly: Anomaly) -> str:
        """Show the band outside of which the method fires."""
        if anomaly.lower is None or anomaly.upper is None:
            return NOTHING
        return f"{figure(anomaly.lower)} to {with_unit(anomaly.upper, anomaly.metric)}"

    @admin.display(description="confidence")
    def confidence_shown(self, anomaly: Anomaly) -> str:
        """Show 1 - p, shrunk by the sample size."""
        return f"{anomaly.confidence:.4f}"

    @admin.display(description="fired as well")
    def detectors_shown(self, anomaly: Anomaly) -> SafeString:
        """Name the other detectors that fired."""
        return as_list([name for name in anomaly.detectors if name != anomaly.detection_method])

    @admin.display(description="deviation")
    def deviation_shown(self, anomaly: Anomaly) -> str:
        """Show the method's score beside the one it fires at."""
        return f"{figure(anomaly.deviation)}, fires beyond {figure(anomaly.threshold)}"

    @admin.display(description="z-score")
    def z_score_shown(self, anomaly: Anomaly) -> str:
        """Show the distance from the mean in standard deviations; a dash where the baseline has no spread."""
        return figure(anomaly.z_score)

    @admin.display(description="p-value")
    def p_value_shown(self, anomaly: Anomaly) -> str:
        """Show how probable so large a deviation is."""
        return NOTHING if anomaly.p_value is None else f"{anomaly.p_value:.3g}"

    @admin.display(description="samples")
    def samples_shown(self, anomaly: Anomaly) -> str:
        """Show how full the window was."""
        return f"{figure(anomaly.samples)} of a window of {figure(anomaly.window_size)}"

    @admin.display(description="details")
    def details_shown(self, anomaly: Anomaly) -> SafeString:
        """Show what the method adds."""
        return as_pairs(anomaly.details)


def _as_uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
