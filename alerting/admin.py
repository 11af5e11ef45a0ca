"""Rules can be edited; outbox and delivery attempts are a record, and read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import localize
from django.utils.safestring import SafeString
from unfold.decorators import display

from alerting.deliver import default_courier, send_again, send_test
from alerting.forms import AlertRuleForm
from alerting.models import AlertRule, DeliveryAttempt, OutboxEntry
from alerting.reasons import EntryStatus, FailureReason
from alerting.rules import forget_rules
from alerting.signature import new_secret
from ingestion.record_admin import RecordAdmin, TimeRangeFilter
from ingestion.record_cells import NOTHING, as_pairs, as_table, link, links

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
else:
    from unfold.admin import ModelAdmin


@admin.register(AlertRule)
class AlertRuleAdmin(ModelAdmin):  # type: ignore[type-arg]  # unfold's class takes no parameter at run time
    """Rules; a saved webhook is checked, and can be tried."""

    form = AlertRuleForm
    list_display = [
        "name",
        "project",
        "enabled",
        "min_severity",
        "channel",
        "service_pattern",
        "model_pattern",
        "disabled_reason",
    ]
    list_filter = ["enabled", "channel", "min_severity", "project"]
    list_select_related = ["project"]
    search_fields = ["name"]
    readonly_fields = ["disabled_reason", "created_at"]
    actions = ["send_test_alert"]
    fieldsets = [
        (None, {"fields": ["project", "name", "enabled", "disabled_reason"]}),
        ("Match", {"fields": ["anomaly_types", "min_severity", "service_pattern", "model_pattern"]}),
        ("How often", {"fields": ["cooldown_seconds", "max_age_seconds", "max_attempts"]}),
        ("Where to", {"fields": ["channel", "webhook_url", "new_secret"]}),
    ]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave out what a new rule cannot have."""
        if obj is not None:
            return super().get_fieldsets(request, obj)
        return [(None, {"fields": ["project", "name", "enabled"]}), *self.fieldsets[1:]]

    def save_model(self, request: HttpRequest, obj: AlertRule, form: Any, change: bool) -> None:
        secret = form.cleaned_data.get("new_secret", "")
        if not secret and obj.channel == "webhook" and not obj.webhook_secret:
            secret = new_secret()
            messages.warning(request, f"The webhook's secret, shown this once: {secret}")
        if secret:
            obj.replace_secret(secret, now=timezone.now())
        if obj.enabled:
            obj.disabled_reason = ""
        super().save_model(request, obj, form, change)
        forget_rules()

    @admin.action(description="Send a test alert", permissions=["change"])
    def send_test_alert(self, request: HttpRequest, queryset: QuerySet[AlertRule]) -> None:
        courier = default_courier()
        for rule in queryset.select_related("project"):
            entry = send_test(rule, courier=courier)
            if entry.status == EntryStatus.DELIVERED:
                messages.success(request, f"{rule.name}: the test alert was delivered.")
            else:
                reason = FailureReason(entry.failure_reason).label
                messages.error(request, f"{rule.name}: the test alert was not delivered. {reason}.")


STATUS_COLOURS = {
    "Delivered": "success",
    "Failed": "danger",
    "Failed for good": "danger",
    "Pending": "warning",
    "Claimed by a worker": "warning",
    "Will be tried again": "warning",
}


class WeekFilter(TimeRangeFilter):
    """Whether somebody was alerted is often asked days later."""

    default = "7d"


@admin.register(OutboxEntry)
class OutboxEntryAdmin(RecordAdmin):
    """Every alert that a rule asked for, and why it was or was not sent."""

    list_display = [
        "created_at", "status_shown", "why", "severity", "anomaly_type", "service", "model", "rule", "attempts",
    ]  # fmt: skip
    list_display_links = ["created_at"]
    list_filter = [
        WeekFilter, "status", "suppression_reason", "failure_reason", "severity", "test", "project", "rule",
    ]  # fmt: skip
    list_select_related = ["rule", "project"]
    search_fields = ["=id", "=anomaly_id", "=service"]
    search_help_text = "An alert's or an anomaly's id, or the exact name of a service"
    actions = ["send_again"]
    empty_hint = (
        "No rule asked for an alert in this time. Alert rules say which anomalies reach whom; the action `Send a test "
        "alert` tries one."
    )
    fieldsets = [
        (None, {"fields": ["status_shown", "why", "explanation", "related", "rule", "project", "test"]}),
        ("Anomaly", {"fields": ["anomaly_type", "severity", "service", "model", "anomaly_timestamp", "window_start"]}),
        ("Delivery", {"fields": [
            "attempts_shown", "next_attempt_at", "lease_until", "claims", "created_at", "settled_at", "id",
        ]}),
        ("What the alert shows", {"fields": ["anomaly_shown"]}),
    ]  # fmt: skip

    @display(description="status", label=STATUS_COLOURS)  # type: ignore[untyped-decorator]
    def status_shown(self, entry: OutboxEntry) -> str:
        """Show the status as a coloured label."""
        return entry.get_status_display()

    @admin.display(description="reason")
    def why(self, entry: OutboxEntry) -> str:
        """Say why it was not sent."""
        return entry.get_suppression_reason_display() or entry.get_failure_reason_display() or NOTHING

    @admin.display(description="explanation")
    def explanation(self, entry: OutboxEntry) -> str:
        """Say what happened."""
        return str(entry.anomaly.get("explanation") or NOTHING)

    @admin.display(description="related")
    def related(self, entry: OutboxEntry) -> SafeString:
        """Link to the anomaly, and to the alerts of the same series and type."""
        series = {"service": entry.service, "model": entry.model, "anomaly_type": entry.anomaly_type}
        return links(
            link("anomaly", "detection_anomaly_change", entry.anomaly_id),
            link("alerts of the series", "alerting_outboxentry_changelist", query=series),
        )

    @admin.display(description="attempts")
    def attempts_shown(self, entry: OutboxEntry) -> SafeString:
        """Show each attempt with its outcome."""
        rows = [
            (
                link(localize(attempt.created_at), "alerting_deliveryattempt_change", attempt.pk),
                attempt.channel,
                attempt.get_outcome_display(),
                attempt.get_failure_reason_display() or NOTHING,
                attempt.status_code or NOTHING,
                f"{attempt.seconds:.3f} s",
            )
            for attempt in entry.delivery_attempts.order_by("number")
        ]
        return as_table(["at", "channel", "outcome", "reason", "HTTP status", "took"], rows)

    @admin.display(description="anomaly")
    def anomaly_shown(self, entry: OutboxEntry) -> SafeString:
        """Show the fields of the alert; empty where it was never to be sent."""
        return as_pairs(dict(sorted(entry.anomaly.items())))

    def has_send_again_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("alerting.change_outboxentry")

    @admin.action(description="Try failed alerts once more", permissions=["send_again"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[OutboxEntry]) -> None:
        count = send_again(list(queryset.values_list("id", flat=True)), now=timezone.now())
        messages.success(request, f"{count} failed alerts will be tried once more.")


@admin.register(DeliveryAttempt)
class DeliveryAttemptAdmin(RecordAdmin):
    """Each attempt to hand an alert to a channel, with its outcome."""

    list_display = [
        "created_at",
        "outcome_shown",
        "failure_reason",
        "status_code",
        "channel",
        "number",
        "took",
        "alert",
    ]
    list_display_links = ["created_at"]
    list_filter = [WeekFilter, "outcome", "failure_reason", "channel"]
    list_select_related = ["entry"]
    search_fields = ["=entry__id"]
    search_help_text = "An alert's id"
    fields = [
        "outcome_shown", "failure_reason", "status_code", "channel", "number", "took", "alert", "body_sha256",
        "created_at",
    ]  # fmt: skip
    empty_hint = "Nothing was handed to a channel in this time."

    @display(description="outcome", label=STATUS_COLOURS)  # type: ignore[untyped-decorator]
    def outcome_shown(self, attempt: DeliveryAttempt) -> str:
        """Show the outcome as a coloured label."""
        return attempt.get_outcome_display()

    @admin.display(description="took, seconds")
    def took(self, attempt: DeliveryAttempt) -> str:
        """Show how long the attempt took."""
        return f"{attempt.seconds:.3f}"

    @admin.display(description="alert")
    def alert(self, attempt: DeliveryAttempt) -> SafeString:
        """Name the alert and link to it."""
        entry = attempt.entry
        text = f"{entry.severity} {entry.anomaly_type} of {entry.service} / {entry.model}"
        return link(text, "alerting_outboxentry_change", entry.pk)
