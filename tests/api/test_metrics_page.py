from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from api.views.metrics import DECLARATIONS, declared_families
from ingestion.metrics import ReadGauge

# The documented names whose stages exist; RabbitMQ is not one of them yet.
DOCUMENTED = [
    "sentinel_events_received_total",
    "sentinel_events_processed_total",
    "sentinel_ingestion_errors_total",
    "sentinel_validation_failures_total",
    "sentinel_kafka_messages_consumed_total",
    "sentinel_kafka_consumption_errors_total",
    "sentinel_anomalies_detected_total",
    "sentinel_detection_latency_seconds",
    "sentinel_detection_errors_total",
    "sentinel_baseline_updates_total",
    "sentinel_baseline_samples",
    "sentinel_storage_writes_total",
    "sentinel_storage_errors_total",
    "sentinel_cache_hits_total",
    "sentinel_cache_misses_total",
    "sentinel_cache_size",
    "sentinel_alerts_sent_total",
    "sentinel_alerts_deduplicated_total",
    "sentinel_alert_failures_total",
    "sentinel_webhook_deliveries_total",
    "sentinel_webhook_failures_total",
]


def declared() -> list[MetricWrapperBase]:
    values = [value for module in DECLARATIONS for value in vars(module).values()]
    return [value for value in values if isinstance(value, MetricWrapperBase)]


def read_gauges() -> list[ReadGauge]:
    return [value for module in DECLARATIONS for value in vars(module).values() if isinstance(value, ReadGauge)]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_documented_name_is_on_the_page_before_it_counts_anything(client: Client, name: str) -> None:
    response = client.get("/metrics")
    assert response.status_code == 200
    assert f"# TYPE {name} " in response.content.decode()


def test_no_metric_is_declared_twice() -> None:
    names = [family.name for family in declared_families()]
    assert sorted(names) == sorted(set(names))


def test_every_metric_says_what_it_counts_and_in_which_unit() -> None:
    for family in declared_families():
        assert family.documentation.endswith(")."), family.name


def test_labels_are_of_bounded_sets() -> None:
    bounded = {
        "channel", "detector", "method", "metric", "outcome", "partition", "phase", "project", "reason", "route", "service",
        "severity", "source", "stage", "state", "status", "table", "topic", "type", "verdict",
    }  # fmt: skip
    assert {label for metric in declared() for label in metric._labelnames} <= bounded
    assert {label for gauge in read_gauges() for label in gauge.labels} <= bounded


def test_counters_and_times_are_named_as_prometheus_asks() -> None:
    for metric in declared():
        if isinstance(metric, Histogram):
            assert metric._name.endswith("_seconds")
        elif isinstance(metric, Gauge):
            assert not metric._name.endswith("_total")
        else:
            assert isinstance(metric, Counter)


def test_a_scraper_may_ask_for_openmetrics(client: Client) -> None:
    response = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert response.content.decode().endswith("# EOF\n")


def test_requests_are_counted_by_route_and_not_by_path(reader: Client) -> None:
    reader.get("/api/v1/anomalies/7f6c1c6e-3a8e-4f5e-9c0b-0d6f3f1d2a11")
    page = reader.get("/metrics").content.decode()
    assert 'sentinel_http_requests_total{method="GET",route="api/v1/anomalies/<uuid:pk>",status="404"}' in page
    assert "7f6c1c6e" not in page


COUNT = """
import ingestion.metrics as metrics
metrics.EVENTS_RECEIVED.inc({count})
metrics.CACHE_SIZE.labels("llm.telemetry", "0").set({count})
"""
SHOW = """
from prometheus_client import generate_latest
import django
django.setup()
from api.views.metrics import gathered_registry
print(generate_latest(gathered_registry()).decode())
"""


def test_the_page_adds_up_every_process_of_the_host(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "sentinel.settings",
    }

    def run(program: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    for count in (2, 3):
        run(COUNT.format(count=count))
    page = run(SHOW)
    families = {family.name: family for family in text_string_to_metric_families(page)}
    samples = {sample.name: sample.value for family in families.values() for sample in family.samples}
    assert samples["sentinel_events_received_total"] == 5
    assert samples["sentinel_cache_size"] == 3
    assert "sentinel_events_processed" in families
