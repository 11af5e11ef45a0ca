"""Every Prometheus metric of the web process, declared once. `route` is the URL pattern, never the path."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

HTTP_REQUESTS = Counter(
    "sentinel_http_requests_total",
    "API requests answered, by method, URL pattern and status (requests).",
    ["method", "route", "status"],
)
HTTP_REQUEST_SECONDS = Histogram(
    "sentinel_http_request_seconds",
    "Time to answer an API request (seconds).",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
HTTP_EVENTS = Counter(
    "sentinel_http_events_total",
    "Events received by POST /api/v1/events, by verdict: accepted or rejected (events).",
    ["verdict"],
)
