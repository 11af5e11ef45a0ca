"""Every Prometheus metric of detection, declared once. `detector` and `severity` are enums, never free text."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ANOMALIES_DETECTED = Counter(
    "sentinel_anomalies_detected_total",
    "Anomalies stored, by severity and primary detector (anomalies).",
    ["severity", "detector"],
)
DETECTION_LATENCY_SECONDS = Histogram(
    "sentinel_detection_latency_seconds",
    "Time to score and learn the rows of one batch (seconds).",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
DETECTION_ERRORS = Counter(
    "sentinel_detection_errors_total",
    "Batches that detection could not score, by type of error (batches).",
    ["type"],
)
BASELINE_UPDATES = Counter(
    "sentinel_baseline_updates_total",
    "Baselines (series x metric) that learned from a batch (baselines).",
)
BASELINE_SAMPLES = Gauge(
    "sentinel_baseline_samples",
    "Samples in the windows of all baselines of a partition (samples).",
    ["topic", "partition"],
    multiprocess_mode="mostrecent",
)
BASELINE_LOADS = Counter(
    "sentinel_baseline_loads_total",
    "Baselines of a partition fetched for a batch, by source: memory, redis, rebuilt or new (loads).",
    ["source"],
)
BASELINE_CACHE_WRITES = Counter(
    "sentinel_baseline_cache_writes_total",
    "Baselines of a partition sent to Redis after a commit, by outcome: updated, replaced or failed (writes).",
    ["outcome"],
)
SERIES_REFUSED = Counter(
    "sentinel_series_refused_events_total",
    "Events neither scored nor learned because their project has too many series (events).",
)
