"""Where ingestion stands: cursors, committed ranges, gaps."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import display

from ingestion.lag import LagReader
from ingestion.models import Batch, Gap, PartitionCursor
from ingestion.record_admin import RecordAdmin, TimeRangeFilter
from ingestion.record_cells import NOTHING, figure, link, links

_lag_reader = LagReader()


class HaltedFilter(admin.SimpleListFilter):
    """Shows the partitions that wait for a human."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the two states."""
        return [("halted", "Halted"), ("running", "Running")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Keep the cursors in the state."""
        if self.value() == "halted":
            return queryset.exclude(halted_reason="")
        return queryset.filter(halted_reason="") if self.value() == "running" else queryset


@admin.register(PartitionCursor)
class PartitionCursorAdmin(RecordAdmin):
    """One row per partition: how far, how far behind, and why not further."""

    list_display = [
        "partition_name", "state", "lag", "next_shown", "why", "progressed_at", "watermark", "phase", "project",
    ]  # fmt: skip
    list_display_links = ["partition_name"]
    list_filter = [HaltedFilter, "project"]
    list_select_related = ["project"]
    search_fields = ["topic"]
    search_help_text = "A part of a topic's name"
    fieldsets = [
        (None, {"fields": ["partition_name", "state", "halted_reason", "last_error", "lag", "next_shown", "related"]}),
        ("Progress", {"fields": ["progressed_at", "watermark", "phase", "attempt", "ended_attempt", "retry_at"]}),
        ("Current range", {"fields": ["dispatched_end", "dispatched_at", "dispatches", "started_at", "stage_batches"]}),
        ("After a worker died", {"fields": ["strikes", "suspect_end", "backend_pid", "backend_start"]}),
        ("Identity", {"fields": ["project", "topic", "partition", "cluster_id", "topic_id", "created_at"]}),
    ]
    empty_hint = (
        "No partition is known yet. `sentinel up` starts the bridge, which finds them; `sentinel status` shows it."
    )

    @admin.display(description="partition", ordering="topic")
    def partition_name(self, cursor: PartitionCursor) -> str:
        """Name topic and partition."""
        return str(cursor)

    @display(description="state", label={"running": "success", "halted": "danger"})  # type: ignore[untyped-decorator]
    def state(self, cursor: PartitionCursor) -> str:
        """Show a coloured label for a partition that waits for a human."""
        return "halted" if cursor.halted_reason else "running"

    @admin.display(description="halted by, or last error")
    def why(self, cursor: PartitionCursor) -> str:
        """Say why it does not go on, or what last went wrong."""
        return cursor.halted_reason or cursor.last_error or NOTHING

    @admin.display(description="next offset", ordering="next_offset")
    def next_shown(self, cursor: PartitionCursor) -> str:
        """Show the first offset that is not ingested."""
        return figure(cursor.next_offset)

    @admin.display(description="related")
    def related(self, cursor: PartitionCursor) -> SafeString:
        """Link to what came through the partition."""
        query = {"cursor__id__exact": cursor.pk}
        return links(
            link("batches", "ingestion_batch_changelist", query=query),
            link("dead letters", "ingestion_deadletter_changelist", query={"cursor": cursor.pk}),
            link("gaps", "ingestion_gap_changelist", query=query),
        )

    @admin.display(description="lag", empty_value="the log does not answer")
    def lag(self, cursor: PartitionCursor) -> int | None:
        """Count what the log holds beyond the cursor."""
        return _lag_reader.lag(cursor)


@admin.register(Batch)
class BatchAdmin(RecordAdmin):
    """The audit trail; `sentinel audit` proves that it has no hole."""

    list_display = [
        "created_at", "cursor", "start_offset", "end_offset", "stored", "duplicates", "rejected", "late", "control",
        "anomalies", "unknown_fields",
    ]  # fmt: skip
    list_display_links = ["created_at"]
    list_filter = [TimeRangeFilter, "cursor"]
    list_select_related = ["cursor"]
    sortable_by = ()
    empty_hint = "No range of the log was ingested in this time. `sentinel send` sends an event, `sentinel status` shows the workers."


@admin.register(Gap)
class GapAdmin(RecordAdmin):
    """Offsets that left the log before they were ingested."""

    list_display = ["created_at", "cursor", "start_offset", "end_offset", "reason"]
    list_display_links = ["created_at"]
    list_filter = ["cursor"]
    list_select_related = ["cursor"]
    empty_hint = "No gap: nothing left the log before it was ingested."
