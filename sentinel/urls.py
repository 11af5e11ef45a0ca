"""Every address of the web process."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from api.views import health
from api.views.anomalies import AnomaliesView, AnomalyView, RecentAnomaliesView
from api.views.baselines import BaselinesView
from api.views.dead_letters import DeadLettersView, ReplayView
from api.views.events import EventsView
from api.views.index import index
from api.views.metrics import metrics
from api.views.telemetry import TelemetryView

handler404 = "api.errors.page_not_found"
handler500 = "api.errors.server_error"

urlpatterns = [
    path("", index, name="index"),
    # Browsers ask for it wherever they show an answer without a page of ours, such as /health/ready.
    path("favicon.ico", RedirectView.as_view(url=static("sentinel/icon.svg"))),
    path("admin/", admin.site.urls),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("api/v1/events", EventsView.as_view(), name="events"),
    path("api/v1/telemetry", TelemetryView.as_view(), name="telemetry"),
    path("api/v1/anomalies", AnomaliesView.as_view(), name="anomalies"),
    path("api/v1/anomalies/recent", RecentAnomaliesView.as_view(), name="recent_anomalies"),
    path("api/v1/anomalies/<uuid:pk>", AnomalyView.as_view(), name="anomaly"),
    path("api/v1/baselines", BaselinesView.as_view(), name="baselines"),
    path("api/v1/dead-letters", DeadLettersView.as_view(), name="dead_letters"),
    path("api/v1/dead-letters/<int:pk>/replay", ReplayView.as_view(), name="replay_dead_letter"),
    path("health/live", health.live, name="live"),
    path("health/ready", health.ready, name="ready"),
    path("health/startup", health.startup, name="startup"),
    path("metrics", metrics, name="metrics"),
]
