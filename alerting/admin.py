"""Rules can be edited; outbox and delivery attempts are a record, and read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from alerting.deliver import default_courier, send_again, send_test
from alerting.forms import AlertRuleForm
from alerting.models import AlertRule, DeliveryAttempt, OutboxEntry
from alerting.reasons import EntryStatus, FailureReason
from alerting.rules import forget_rules
from alerting.signature import new_secret

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
else:
    from unfold.admin import ModelAdmin


@admin.register(AlertRule)
class AlertRuleAdmin(ModelAdmin):  # type: ignore[type-arg]  # unfold's class takes no parameter at run time
    """Rules; a saved webhook is checked, and can be tried."""

    form = AlertRuleForm
    list_display = ["name", "project", "enabled", "min_severity", "channel", "service_pattern", "disabled_reason"]
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


class RecordAdmin(ModelAdmin):  # type: ignore[type-arg]  # as above
    """A list to look at; what it shows is written by the pipeline alone."""

    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(OutboxEntry)
class OutboxEntryAdmin(RecordAdmin):
    """Every alert that a rule asked for, and why it was or was not sent."""

    list_display = [
        "created_at", "status", "suppression_reason", "failure_reason", "rule", "service", "model", "anomaly_type",
        "severity", "attempts",
    ]  # fmt: skip
    list_filter = ["status", "suppression_reason", "failure_reason", "severity", "test", "project", "rule"]
    list_select_related = ["rule", "project"]
    search_fields = ["=id", "=anomaly_id", "=service"]
    actions = ["send_again"]

    def has_send_again_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("alerting.change_outboxentry")

    @admin.action(description="Try failed alerts once more", permissions=["send_again"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[OutboxEntry]) -> None:
        count = send_again(list(queryset.values_list("id", flat=True)), now=timezone.now())
        messages.success(request, f"{count} failed alerts will be tried once more.")


@admin.register(DeliveryAttempt)
class DeliveryAttemptAdmin(RecordAdmin):
    """Each attempt to hand an alert to a channel, with its outcome."""

    list_display = ["created_at", "outcome", "failure_reason", "status_code", "channel", "number", "seconds", "entry"]
    list_filter = ["outcome", "failure_reason", "channel"]
    list_select_related = ["entry"]
    search_fields = ["=entry__id"]
