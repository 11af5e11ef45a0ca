from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pytest_django import Settings

from tests.pages.browser import Complaints, open_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from detection.models import Anomaly, Baseline
    from ingestion.models import DeadLetter

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Rows:
    anomaly: Anomaly
    baseline: Baseline
    dead_letter: DeadLetter


@pytest.fixture
def rows(transactional_db: None, settings: Settings) -> Iterator[Rows]:
    """Give an installation without Kafka: an administrator, one event, what was found in it, one rejected record."""
    from django.contrib.auth.models import User

    from ingestion.log.configured import create_topics
    from ingestion.log.producer import appender
    from ingestion.partitions import ensure_partitions

    settings.SENTINEL_BROKERS = []
    appender.cache_clear()
    ensure_partitions()
    create_topics(["llm.telemetry"])
    User.objects.create_superuser("ada", password=PASSWORD)
    yield _stored(datetime.now(UTC))
    appender().close()
    appender.cache_clear()


@pytest.fixture
def browser(live_server: Any, rows: Rows) -> Iterator[tuple[Page, Complaints]]:
    """Give a page whose paths are those of the live server, and what went wrong in it."""
    with open_page(live_server.url) as opened:
        yield opened


def _stored(now: datetime) -> Rows:
    from detection.models import Anomaly, Baseline
    from ingestion.models import DeadLetter, Event, PartitionCursor, Project, Series

    project = Project.objects.get(slug="default")
    cursor = PartitionCursor.objects.create(
        project=project, cluster_id="test", topic_id="test", topic="llm.telemetry", partition=0
    )
    series = Series.objects.create(project=project, service="chat-api", model="gpt-4o")
    of_series: dict[str, Any] = {
        "project": project, "service": "chat-api", "model": "gpt-4o", "timestamp": now - timedelta(seconds=5),
    }  # fmt: skip
    event = Event(
        **of_series, event_id=uuid.uuid4(), ingested_at=now, cursor_id=cursor.pk, log_offset=0, scored=True,
        latency_ms=15_234.5, total_tokens=30, cost_usd=0.001, has_errors=False, prompt_text="Where is [EMAIL]?",
    )  # fmt: skip
    event.save(force_insert=True)
    anomaly = Anomaly.objects.create(
        **of_series, series=series, event_id=event.pk, metric="latency_ms", anomaly_type="latency_spike",
        severity="critical", detection_method="z_score", detectors=["z_score", "iqr"], direction="above",
        observed=15_234.5, baseline_mean=1_234.5, baseline_stddev=234.2, baseline_median=1_205.3, deviation=59.8,
        threshold=3.0, z_score=59.8, p_value=0.0, confidence=0.999, window_size=1_000, samples=1_000,
        details={"mad": 81.5, "flat": False},
    )  # fmt: skip
    summary = {"latency_ms": {"samples": 1_000, "mean": 1_234.5, "stddev": 234.2, "median": 1_205.3}}
    baseline = Baseline.objects.create(
        cursor=cursor, series=series, batch_id=1, next_offset=1, state=b"", summary=summary
    )
    letter = DeadLetter.objects.create(
        project=project, cursor=cursor, log_offset=1, log_time=now, stage="decode", reason="missing_field",
        field="latency_ms", message="latency_ms is required", size_bytes=28, sha256=bytes(32),
        payload='{"service_name": "chat-api"}',
    )  # fmt: skip
    return Rows(anomaly=anomaly, baseline=baseline, dead_letter=letter)
