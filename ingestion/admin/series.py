"""Series: the way from a service and a model to events, baselines and anomalies."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from ingestion.models import Series
from ingestion.record_admin import RecordAdmin
from ingestion.record_cells import link, links


@admin.register(Series)
class SeriesAdmin(RecordAdmin):
    """One row per project, service and model that has sent an event."""

    list_display = ["service", "model", "related", "created_at", "project"]
    list_display_links = ["service", "model"]
    list_filter = ["project"]
    list_select_related = ["project"]
    search_fields = ["=service", "=model"]
    search_help_text = "The exact name of a service or a model"
    fields = ["service", "model", "project", "related", "created_at"]
    empty_hint = "No series yet: the first event of a service and a model makes one."

    @admin.display(description="related")
    def related(self, series: Series) -> SafeString:
        """Link to what belongs to the series."""
        return links(
            link("anomalies", "detection_anomaly_changelist", query={"series": series.pk, "range": "7d"}),
            link("baseline", "detection_baseline_changelist", query={"series": series.pk}),
            link("events", "ingestion_event_changelist", query={"service": series.service, "model": series.model}),
        )
