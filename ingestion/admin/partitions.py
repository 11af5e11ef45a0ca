"""Where ingestion stands: cursors, committed ranges, gaps."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.formats import localize
from django.utils.safestring import SafeString
from unfold.decorators import display

from ingestion.admin.partition_condition import condition_of_row, with_condition
from ingestion.admin.resume_view import items_of, resume_chosen
from ingestion.condition import Runbook
from ingestion.models import Batch, Gap, PartitionCursor
from ingestion.record_admin import RecordAdmin, TimeRangeFilter
from ingestion.record_cells import NOTHING, figure, link, links

_COLOURS = {
    "idle": "success",
    "working": "success",
    "lagging": "info",
    "waiting for worker": "warning",
    "retrying": "warning",
    "suspected": "warning",
    "stuck": "danger",
    "halted": "danger",
}


class StateFilter(admin.SimpleListFilter):
    """Shows the partitions that wait for a person, or those that are done with."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return what a query can tell apart."""
        return [("open", "Open"), ("halted", "Halted"), ("closed", "Closed")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Keep the cursors in the state."""
        if self.value() == "closed":
            return queryset.exclude(closed_at=None)
        if self.value() == "halted":
            return queryset.filter(closed_at=None).exclude(halted_reason="")
        return queryset.filter(closed_at=None) if self.value() == "open" else queryset


@admin.register(PartitionCursor)
class PartitionCursorAdmin(RecordAdmin):
    """One row per partition: how far, how far behind, since when and why not further, and what to do."""

    list_display = [
        "partition_name", "state", "lag", "since", "why", "what_to_do", "next_shown", "progressed_at", "project",
    ]  # fmt: skip
    list_display_links = ["partition_name"]
    list_filter = [StateFilter, "project"]
    list_select_related = ["project"]
    search_fields = ["topic"]
    search_help_text = "A part of a topic's name"
    actions = ["resume_halted"]
    fieldsets = [
        (None, {"fields": ["partition_name", "state", "since", "why", "what_to_do", "lag", "next_shown", "related"]}),
        ("Progress", {"fields": [
            "progressed_at", "watermark", "log_end", "log_end_at", "held_up_since", "held_up_offset", "held_up_end",
            "last_error", "retry_at",
        ]}),
        ("Current range", {"fields": [
            "dispatched_end", "range_since", "dispatched_at", "dispatches", "attempt", "ended_attempt", "started_at",
            "phase", "worker", "build", "backend_pid", "backend_start", "stage_batches",
        ]}),
        ("After a worker died", {"fields": [
            "death_signal", "suspect_end", "suspected_at", "suspected_build", "strikes", "lone_strikes", "lone_doubts",
            "lone_deaths", "condemned_offset",
        ]}),
        ("Decisions", {"fields": [
            "halted_because", "halted_reason", "halted_at", "trusted_batch_id", "accepted_build", "closed_at",
        ]}),
        ("Identity", {"fields": ["project", "topic", "partition", "cluster_id", "topic_id", "created_at"]}),
    ]  # fmt: skip
    empty_hint = (
        "No partition is known yet. `sentinel up` starts the bridge, which finds them; `sentinel status` shows it."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[PartitionCursor]:
        """Read the cursors with what their conditions need."""
        return with_condition(super().get_queryset(request))

    def get_urls(self) -> list[Any]:
        """Add the page that resumes."""
        view = self.admin_site.admin_view(self.resume_view)
        return [path("resume/", view, name="ingestion_partitioncursor_resume"), *super().get_urls()]

    def has_resume_permission(self, request: HttpRequest) -> bool:
        """Allow whoever may change partition cursors."""
        return request.user.has_perm("ingestion.change_partitioncursor")

    @admin.action(description="Resume: go on after a halt…", permissions=["resume"])
    def resume_halted(self, request: HttpRequest, queryset: QuerySet[PartitionCursor]) -> HttpResponse:
        """Lead to the page that says what resuming the chosen partitions means."""
        return HttpResponseRedirect(_resume_url(*queryset.values_list("pk", flat=True)))

    def resume_view(self, request: HttpRequest) -> HttpResponse:
        """Say what will happen, ask, and do it."""
        if not self.has_resume_permission(request):
            raise PermissionDenied
        ids = [int(pk) for pk in request.GET.get("ids", "").split(",") if pk.isdecimal()]
        items = items_of(self.get_queryset(request).filter(pk__in=ids))
        if request.method == "POST":
            done, refused = resume_chosen(request, items)
            for item, way in done:
                self.log_change(
                    request, item.cursor, f"Resumed. {way.label}. Halted before: {item.cursor.halted_reason}"
                )
                messages.success(request, f"{item.cursor} goes on. {way.outlook}")
            for why_not in refused:
                messages.error(request, f"{why_not}.")
            return HttpResponseRedirect(reverse("admin:ingestion_partitioncursor_changelist"))
        context = {
            **self.admin_site.each_context(request),
            "title": "Resume partitions",
            "items": items,
            "can_submit": any(item.refusal is None for item in items),
            "opts": self.opts,
        }
        return TemplateResponse(request, "ingestion/resume.html", context)

    @admin.display(description="partition", ordering="topic")
    def partition_name(self, cursor: PartitionCursor) -> str:
        """Name topic and partition."""
        return str(cursor)

    @display(description="state", label=_COLOURS)  # type: ignore[untyped-decorator]
    def state(self, cursor: PartitionCursor) -> str:
        """Show a coloured label."""
        return condition_of_row(cursor).state.replace("_", " ")

    @admin.display(description="since")
    def since(self, cursor: PartitionCursor) -> str:
        """Show since when it is in that state."""
        return localize(condition_of_row(cursor).since)

    @admin.display(description="why")
    def why(self, cursor: PartitionCursor) -> str:
        """Say in one sentence what keeps it."""
        return condition_of_row(cursor).why

    @admin.display(description="what to do")
    def what_to_do(self, cursor: PartitionCursor) -> SafeString | str:
        """Link to the runbook, and to the page that resumes."""
        condition = condition_of_row(cursor)
        found = []
        if condition.runbook:
            found.append(link("runbook", "runbook", condition.runbook.value))
        if cursor.halted_reason and cursor.closed_at is None:
            found.append(link("resume…", "ingestion_partitioncursor_resume", query={"ids": cursor.pk}))
        return links(*found) if found else NOTHING

    @admin.display(description="lag")
    def lag(self, cursor: PartitionCursor) -> str:
        """Count what the log holds beyond the cursor, as it was last seen."""
        return figure(condition_of_row(cursor).lag)

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


def _resume_url(*ids: int) -> str:
    return f"{reverse('admin:ingestion_partitioncursor_resume')}?ids={','.join(map(str, ids))}"


@admin.register(Batch)
class BatchAdmin(RecordAdmin):
    """The audit trail; `sentinel audit` proves that it has no hole."""

    list_display = [
        "created_at", "cursor", "start_offset", "end_offset", "stored", "duplicates", "rejected", "late", "control",
        "anomalies", "unknown_fields", "worker_build",
    ]  # fmt: skip
    list_display_links = ["created_at"]
    list_filter = [TimeRangeFilter, "cursor"]
    list_select_related = ["cursor"]
    sortable_by = ()
    empty_hint = "No range of the log was ingested in this time. `sentinel send` sends an event, `sentinel status` shows the workers."


@admin.register(Gap)
class GapAdmin(RecordAdmin):
    """Offsets that left the log before they were ingested."""

    list_display = ["created_at", "cursor", "reason", "offsets", "start_offset", "end_offset", "what_to_do"]
    list_display_links = ["created_at"]
    list_filter = ["reason", "cursor"]
    list_select_related = ["cursor"]
    fields = ["cursor", "reason", "offsets", "start_offset", "end_offset", "created_at", "what_to_do"]
    empty_hint = "No gap: nothing left the log before it was ingested."

    @admin.display(description="offsets lost")
    def offsets(self, gap: Gap) -> str:
        """Count what was never ingested."""
        return figure(gap.end_offset - gap.start_offset)

    @admin.display(description="what to do")
    def what_to_do(self, gap: Gap) -> SafeString:
        """Link to the runbook."""
        page = Runbook.GAP if gap.reason == "retention" else Runbook.PARTITION_CLOSED
        return link("runbook", "runbook", page.value)
