"""Stored events: scrubbed, read-only, bounded by the time they were received."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import display

from ingestion.models import Event
from ingestion.record_admin import RecordAdmin, TimeRangeFilter
from ingestion.record_cells import as_code, as_list, as_pairs, figure, link, links


class ReceivedFilter(TimeRangeFilter):
    """Bounds the list by `ingested_at`, which has an index of its own; an id is looked up at any time."""

    title = "received"
    parameter_name = "received"
    column = "ingested_at"

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        super().__init__(request, *args)
        self._by_id = _as_uuid(request.GET.get("q", "")) is not None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep what was received within the range."""
        return queryset if self._by_id else super().queryset(request, queryset)


def _as_uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text.strip())
    except ValueError:
        return None


@admin.register(Event)
class EventAdmin(RecordAdmin):
    """Search by event id (at any time), trace id, service or model (within the time range)."""

    list_display = [
        "timestamp", "service", "model", "latency_shown", "tokens_shown", "cost_shown", "state", "event_id", "project",
    ]  # fmt: skip
    list_display_links = ["timestamp"]
    list_filter = [ReceivedFilter, "project", "has_errors"]
    list_select_related = ["project"]
    search_fields = ["event_id"]
    search_help_text = "An event id, a trace id, or the exact name of a service or a model"
    sortable_by = ()
    empty_hint = (
        "No event was received in this time. Choose a longer one, or run `sentinel demo`, `sentinel send` or "
        "`sentinel replay FILE`."
    )
    fieldsets = [
        (None, {"fields": ["timestamp", "project", "service", "model", "event_id", "related", "state", "flags_shown", "pii_shown"]}),
        ("Measured", {"fields": [
            "latency_shown", "ttft_shown", "tokens_shown", "prompt_tokens", "completion_tokens", "cached_tokens",
            "cache_write_tokens", "reasoning_tokens", "token_source", "cost_shown", "cost_source", "sample_weight",
        ]}),
        ("Content, scrubbed", {"fields": [
            "prompt", "prompt_length", "response", "response_length", "finish_reason", "errors_shown",
            "metadata_shown", "tool_calls_shown", "retrieved_context_shown", "features_shown", "content_mode",
        ]}),
        ("Where from", {"fields": [
            "provider", "operation", "requested_model", "response_model", "response_id", "environment", "trace_id",
            "span_id", "parent_span_id", "session_id", "user_id", "prompt_template_id", "prompt_template_version",
            "sdk_name", "sdk_version", "ingested_at", "cursor_id", "log_offset", "scored",
        ]}),
    ]  # fmt: skip

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Event | None:
        """Return the newest event with this id: its identity has project and time as well."""
        event_id = _as_uuid(object_id)
        if event_id is None:
            return None
        found = Event.objects.select_related("project").filter(event_id=event_id)
        return found.order_by("-timestamp").first()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Match whole values only: no index serves parts of them."""
        term = search_term.strip()
        if not term:
            return queryset, False
        event_id = _as_uuid(term)
        if event_id is not None:
            by_id = queryset.filter(event_id=event_id)
            return (by_id if by_id.exists() else queryset.filter(trace_id=event_id.hex)), False
        chosen = queryset.filter(service=term) | queryset.filter(model=term) | queryset.filter(trace_id=term)
        return chosen, False

    @admin.display(description="latency, ms")
    def latency_shown(self, event: Event) -> str:
        """Show how long the call took."""
        return figure(event.latency_ms)

    @admin.display(description="time to first token, ms")
    def ttft_shown(self, event: Event) -> str:
        """Show how long the first token took."""
        return figure(event.ttft_ms)

    @admin.display(description="tokens")
    def tokens_shown(self, event: Event) -> str:
        """Show the sum of both parts."""
        return figure(event.total_tokens)

    @admin.display(description="cost, USD")
    def cost_shown(self, event: Event) -> str:
        """Show the cost; unknown is a dash, not 0."""
        return figure(event.cost_usd)

    @display(description="state", label={"error": "danger"})  # type: ignore[untyped-decorator]
    def state(self, event: Event) -> str:
        """Show a coloured label for a call that failed."""
        return "error" if event.has_errors else "ok"

    @admin.display(description="Related")
    def related(self, event: Event) -> SafeString:
        """Link to what was found in the event and to its series."""
        return links(
            link("anomalies", "detection_anomaly_changelist", query={"q": event.event_id, "range": "30d"}),
            link(
                "series and baseline",
                "ingestion_series_changelist",
                query={"service": event.service, "model": event.model, "project": event.project_id},
            ),
        )

    @admin.display(description="Limits exceeded")
    def flags_shown(self, event: Event) -> SafeString:
        """Show the limits that the event exceeds."""
        return as_list(event.flags)

    @admin.display(description="Scrubbed, by type")
    def pii_shown(self, event: Event) -> SafeString:
        """Show how much was scrubbed."""
        return as_pairs(event.pii)

    @admin.display(description="Prompt")
    def prompt(self, event: Event) -> SafeString:
        """Show the scrubbed prompt."""
        return as_code(event.prompt_text)

    @admin.display(description="Response")
    def response(self, event: Event) -> SafeString:
        """Show the scrubbed response."""
        return as_code(event.response_text)

    @admin.display(description="Errors")
    def errors_shown(self, event: Event) -> SafeString:
        """Show the errors."""
        return as_code(event.errors)

    @admin.display(description="Metadata")
    def metadata_shown(self, event: Event) -> SafeString:
        """Show the metadata."""
        return as_pairs(event.metadata)

    @admin.display(description="Tool calls")
    def tool_calls_shown(self, event: Event) -> SafeString:
        """Show the tool calls."""
        return as_code(event.tool_calls)

    @admin.display(description="Retrieved context")
    def retrieved_context_shown(self, event: Event) -> SafeString:
        """Show the retrieved documents."""
        return as_code(event.retrieved_context)

    @admin.display(description="Features")
    def features_shown(self, event: Event) -> SafeString:
        """Show the features."""
        return as_pairs(event.features)
