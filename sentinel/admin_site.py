"""The admin's start page and sidebar: what an engineer on call opens first stands first."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.http import Http404, HttpRequest
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone

from sentinel import runbooks

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
else:
    from unfold.sites import UnfoldAdminSite as AdminSite

# App label: its models, in the order of the sidebar. What is not named follows, by name.
ORDER: dict[str, list[str]] = {
    "detection": ["Anomaly", "Baseline", "BaselineShift", "DetectionConfig"],
    "ingestion": [
        "Event", "Series", "DeadLetter", "LateEvent", "PartitionCursor", "Batch", "Gap", "Project", "Topic",
    ],
    "alerting": ["OutboxEntry", "DeliveryAttempt", "AlertRule"],
    "api": [],
}  # fmt: skip


NEWEST = 10


class SentinelAdminSite(AdminSite):
    """Shows apps and models in the order of `ORDER`, and on the start page what happened last."""

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Show what is wrong with ingestion and the newest anomalies above the list of pages."""
        return super().index(request, {**_what_happened(request), **(extra_context or {})})

    def get_urls(self) -> list[Any]:
        """Add the runbooks."""
        return [path("runbooks/<slug:name>/", self.admin_view(self.runbook), name="runbook"), *super().get_urls()]

    def runbook(self, request: HttpRequest, name: str) -> TemplateResponse:
        """Show one runbook, to anybody who may log in."""
        page = runbooks.render(name)
        if page is None:
            raise Http404(f"There is no runbook {name}.")
        context = {**self.each_context(request), "title": "Runbook", "page": page}
        return TemplateResponse(request, "admin/runbook.html", context)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the apps that the user may see, with their models."""
        apps: list[Any] = super().get_app_list(request, app_label)
        for app in apps:
            models = ORDER.get(app["app_label"], [])
            app["models"].sort(key=lambda model: _rank(model["object_name"], models))
        return sorted(apps, key=lambda app: _rank(app["app_label"], list(ORDER)))


def _what_happened(request: HttpRequest) -> dict[str, Any]:
    # Models cannot be imported before the apps are ready, which this module is.
    from detection.models import Anomaly
    from ingestion.missing_days import describe_missing, missing_days
    from ingestion.models import Project
    from ingestion.scattered_series import scattered_series
    from ingestion.survey import survey

    found: dict[str, Any] = {}
    if request.user.has_perm("ingestion.view_partitioncursor"):
        with connection.cursor() as sql:
            found["alarming"] = [condition for condition in survey(sql) if condition.is_alarming]
            found["missing"] = describe_missing(days) if (days := missing_days(sql)) else ""
            found["scattered"] = scattered_series(sql)
    if request.user.has_perm("detection.view_anomaly"):
        # Naming the projects lets the index (project, timestamp) serve.
        of_day = Anomaly.objects.filter(
            project__in=list(Project.objects.values_list("pk", flat=True)),
            timestamp__gt=timezone.now() - timedelta(days=1),
        )
        found["anomalies"] = list(of_day.order_by("-timestamp")[:NEWEST])
    return found


def _rank(name: str, order: list[str]) -> int:
    return order.index(name) if name in order else len(order)
