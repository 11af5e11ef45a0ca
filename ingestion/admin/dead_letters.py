"""What was set aside: rejected records, which can be replayed, and events outside the stored time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import display

from ingestion.models import DeadLetter, LateEvent
from ingestion.record_admin import RecordAdmin, TimeRangeFilter
from ingestion.record_cells import as_record, figure
from ingestion.reject import RejectReason, SetAsideReason
from ingestion.replay import replay
from ingestion.replay_outcome import Fate
from ingestion.withheld import why_not_replayed, why_withheld

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHOWN_OTHERS = 10


class WeekFilter(TimeRangeFilter):
    """What was set aside lies longer before somebody looks."""

    default = "7d"


class ReasonFilter(admin.SimpleListFilter):
    """Filters by the closed set of reasons, without asking the table which occur."""

    title = "reason"
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return every reason."""
        return [(reason.value, reason.value.replace("_", " ")) for reason in (*RejectReason, *SetAsideReason)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the letters with the reason."""
        return queryset.filter(reason=self.value()) if self.value() else queryset


@admin.register(DeadLetter)
class DeadLetterAdmin(RecordAdmin):
    """Rejected records with their reason; the action sends the scrubbed payload through the log again."""

    list_display = [
        "created_at", "message", "field", "reason", "stage", "status_shown", "records_shown", "size_shown", "cursor",
        "log_offset",
    ]  # fmt: skip
    list_display_links = ["created_at", "message"]
    list_filter = [WeekFilter, "status", ReasonFilter, "project"]
    list_select_related = ["cursor", "project"]
    actions = ["replay_chosen"]
    fieldsets = [
        (None, {"fields": ["reason", "field", "message", "stage", "status", "replayed_at", "replay_shown"]}),
        ("Record", {"fields": ["payload_shown", "records", "size_shown", "sha256_shown"]}),
        ("Where from", {"fields": ["project", "cursor", "log_offset", "log_time", "created_at"]}),
    ]
    empty_hint = "No record was rejected in this time."

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Allow whoever may change dead letters."""
        return request.user.has_perm("ingestion.change_deadletter")

    @admin.action(description="Replay: append to the log again", permissions=["replay"])
    def replay_chosen(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        """Replay the chosen letters, say how many were, and of each other one why not."""
        result = replay(queryset.values_list("pk", flat=True))
        messages.add_message(request, messages.ERROR if result.has_failed else messages.SUCCESS, f"{result}.")
        for pk, outcome in list(result.others.items())[:SHOWN_OTHERS]:
            what = "was skipped" if outcome.fate is Fate.SKIPPED else "is not marked as replayed"
            messages.warning(request, f"Dead letter {pk} {what}: {outcome.why}.")

    @display(description="status", label={"open": "warning", "replayed": "success"})  # type: ignore[untyped-decorator]
    def status_shown(self, letter: DeadLetter) -> str:
        """Show the status as a coloured label."""
        return letter.status

    @admin.display(description="records", ordering="records")
    def records_shown(self, letter: DeadLetter) -> str:
        """Show how many records the letter stands for: more than one where they were only counted."""
        return figure(letter.records)

    @admin.display(description="size, bytes")
    def size_shown(self, letter: DeadLetter) -> str:
        """Show the size of the record as it came."""
        return figure(letter.size_bytes)

    @admin.display(description="Payload, scrubbed")
    def payload_shown(self, letter: DeadLetter) -> SafeString | str:
        """Show what was kept of the record, or why nothing was."""
        withheld = why_withheld(letter)
        return as_record(letter.payload) if withheld is None else f"not shown: {withheld}"

    @admin.display(description="replay")
    def replay_shown(self, letter: DeadLetter) -> str:
        """Say whether it can be replayed, and why not."""
        why_not = why_not_replayed(letter)
        return "possible, by the action in the list" if why_not is None else f"not possible: {why_not}"

    @admin.display(description="SHA-256")
    def sha256_shown(self, letter: DeadLetter) -> str:
        """Show the digest of the record as it came."""
        return bytes(letter.sha256).hex()


@admin.register(LateEvent)
class LateEventAdmin(RecordAdmin):
    """Valid events outside the time that can be stored: kept, never counted."""

    list_display = ["created_at", "project", "reason", "event_time", "log_time", "event_id", "cursor", "log_offset"]
    list_display_links = ["created_at"]
    list_filter = [WeekFilter, "reason", "project"]
    list_select_related = ["project", "cursor"]
    fieldsets = [
        (None, {"fields": ["reason", "event_time", "log_time", "event_id"]}),
        ("Record", {"fields": ["payload_shown", "project", "cursor", "log_offset", "created_at"]}),
    ]
    empty_hint = "No event came too late in this time."

    @admin.display(description="event time")
    def event_time(self, event: LateEvent) -> datetime | str:
        """Show when the call ended."""
        try:
            return _EPOCH + timedelta(microseconds=event.timestamp_us)
        except OverflowError:
            return f"{event.timestamp_us} µs"

    @admin.display(description="Payload, scrubbed")
    def payload_shown(self, event: LateEvent) -> SafeString:
        """Show the event."""
        return as_record(event.payload)
