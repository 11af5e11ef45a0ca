"""Where ingestion stands: cursors, committed ranges, gaps."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from ingestion.lag import LagReader
from ingestion.models import Batch, Gap, PartitionCursor
from ingestion.record_admin import RecordAdmin, TimeRangeFilter

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
        "partition_name", "project", "next_offset", "lag", "halted_reason", "last_error", "watermark", "progressed_at",
        "phase",
    ]  # fmt: skip
    list_display_links = ["partition_name"]
    list_filter = [HaltedFilter, "project"]
    list_select_related = ["project"]
    search_fields = ["topic"]
    empty_hint = (
        "No partition is known yet. `sentinel up` starts the bridge, which finds them; `sentinel status` shows it."
    )

    @admin.display(description="partition", ordering="topic")
    def partition_name(self, cursor: PartitionCursor) -> str:
        """Name topic and partition."""
        return str(cursor)

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
    list_filter = ["cursor"]
    list_select_related = ["cursor"]
    empty_hint = "No gap: nothing left the log before it was ingested."
