"""Every Prometheus metric of alerting, declared once. `channel` and `reason` are closed sets, never free text."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram

from alerting.reasons import SuppressionReason

ALERTS_SENT = Counter(
    "sentinel_alerts_sent_total",
    "Alerts that a channel acknowledged (alerts).",
    ["channel"],
)
ALERTS_DEDUPLICATED = Counter(
    "sentinel_alerts_deduplicated_total",
    "Alerts not sent because the same one was sent, or is being sent, in the rule's window (alerts).",
)
ALERTS_SUPPRESSED = Counter(
    "sentinel_alerts_suppressed_total",
    "Alerts not sent, by reason; repeats within the window among them (alerts).",
    ["reason"],
)
ALERT_FAILURES = Counter(
    "sentinel_alert_failures_total",
    "Alerts given up, by channel and reason of the last attempt (alerts).",
    ["channel", "reason"],
)
ALERT_RETRIES = Counter(
    "sentinel_alert_retries_total",
    "Attempts that failed and will be repeated, by channel and reason (attempts).",
    ["channel", "reason"],
)
WEBHOOK_DELIVERIES = Counter(
    "sentinel_webhook_deliveries_total",
    "Webhook requests answered with 2xx (requests).",
)
WEBHOOK_FAILURES = Counter(
    "sentinel_webhook_failures_total",
    "Webhook requests that failed, whether or not they are repeated (requests).",
)
ALERT_SEND_SECONDS = Histogram(
    "sentinel_alert_send_seconds",
    "Time that a channel took for one attempt (seconds).",
    ["channel"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
ALERT_DELAY_SECONDS = Histogram(
    "sentinel_alert_delay_seconds",
    "Time from the commit of an anomaly to the acknowledgement of its alert (seconds).",
    ["channel"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
LEASES_EXPIRED = Counter(
    "sentinel_outbox_leases_expired_total",
    "Outbox entries taken back from workers that died or stalled (entries).",
)
OUTBOX_DEPTH = Gauge(
    "sentinel_outbox_depth",
    "Outbox entries that wait or are being sent (entries).",
    multiprocess_mode="mostrecent",
)
OUTBOX_OLDEST_SECONDS = Gauge(
    "sentinel_outbox_oldest_seconds",
    "Age of the oldest outbox entry that waits or is being sent; 0 where there is none (seconds).",
    multiprocess_mode="mostrecent",
)


def count_suppressed(suppressed: Mapping[SuppressionReason, int]) -> None:
    """Count entries that will not be sent; call it after the commit that says so."""
    for reason, entries in suppressed.items():
        ALERTS_SUPPRESSED.labels(reason=reason.value).inc(entries)
        if reason is SuppressionReason.DUPLICATE_IN_WINDOW:
            ALERTS_DEDUPLICATED.inc(entries)
