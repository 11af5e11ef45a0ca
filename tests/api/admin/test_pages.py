from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.html import escape

from detection.models import Anomaly, Baseline, BaselineShift, DetectionConfig
from ingestion.models import Batch, DeadLetter, Event, Gap, LateEvent, PartitionCursor, Series


@pytest.fixture
def _one_of_each(
    add_event: Callable[..., Event],
    add_cursor: Callable[..., PartitionCursor],
    add_dead_letter: Callable[..., DeadLetter],
    add_anomaly: Callable[..., Anomaly],
    now: datetime,
) -> None:
    event = add_event(prompt_text="<script>alert(1)</script>", metadata={"region": "eu"})
    cursor = add_cursor(halted_reason="the log was replaced")
    add_dead_letter()
    add_anomaly(event_id=event.event_id)
    series = Series.objects.get()
    summary = {"latency_ms": {"samples": 4, "mean": 115.0, "stddev": 11.2}}
    Baseline.objects.create(cursor=cursor, series=series, batch_id=1, next_offset=1, state=b"", summary=summary)
    shift = {"log_offset": 1, "samples": 1000, "mean_before": 1.0, "stddev_before": 0.1}
    BaselineShift.objects.create(
        cursor=cursor, series=series, metric="latency_ms", mean_after=2.0, stddev_after=0.1, **shift
    )
    DetectionConfig.objects.create(settings={})
    Batch.objects.create(cursor=cursor, attempt=1, start_offset=0, end_offset=1, stored=1)
    Gap.objects.create(cursor=cursor, start_offset=1, end_offset=2, reason="retention")
    LateEvent.objects.create(
        project=cursor.project,
        cursor=cursor,
        log_offset=7,
        log_time=now,
        event_id="7f6c1c6e-3a8e-4f5e-9c0b-0d6f3f1d2a11",
        timestamp_us=2**62,
        reason="in_future",
        payload="{}",
    )


def pages() -> list[str]:
    return sorted(f"{model._meta.app_label}_{model._meta.model_name}" for model in admin.site._registry)


@pytest.mark.parametrize("name", pages())
def test_every_list_opens_when_it_is_empty(staff: Client, name: str) -> None:
    assert staff.get(reverse(f"admin:{name}_changelist")).status_code == 200


@pytest.mark.usefixtures("_one_of_each")
@pytest.mark.parametrize("name", pages())
def test_every_list_and_every_page_opens(staff: Client, name: str) -> None:
    model = next(model for model in admin.site._registry if f"{model._meta.app_label}_{model._meta.model_name}" == name)
    assert staff.get(reverse(f"admin:{name}_changelist")).status_code == 200
    row = model._default_manager.first()
    if row is not None:
        assert staff.get(reverse(f"admin:{name}_change", args=[row.pk])).status_code == 200


@pytest.mark.usefixtures("_one_of_each")
@pytest.mark.parametrize(
    "model", [Batch, DeadLetter, Event, Gap, LateEvent, PartitionCursor], ids=lambda model: model.__name__
)
def test_what_the_pipeline_wrote_cannot_be_changed(staff: Client, model: Any) -> None:
    name = f"admin:ingestion_{model._meta.model_name}"
    pk = model.objects.first().pk
    assert staff.get(reverse(f"{name}_add")).status_code == 403
    assert staff.post(reverse(f"{name}_change", args=[pk]), {}).status_code == 403
    assert staff.post(reverse(f"{name}_delete", args=[pk]), {"post": "yes"}).status_code == 403


def test_the_list_of_events_is_never_counted(staff: Client, add_event: Callable[..., Event]) -> None:
    add_event()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        staff.get(reverse("admin:ingestion_event_changelist"))
    of_events = [query["sql"] for query in queries if '"events"' in query["sql"]]
    assert of_events
    assert not [sql for sql in of_events if "COUNT(" in sql]
    assert all('"ingested_at" >' in sql for sql in of_events)


def test_an_empty_list_says_what_to_run(staff: Client) -> None:
    page = staff.get(reverse("admin:ingestion_event_changelist")).content.decode()
    assert "`sentinel demo`" in page


def test_content_is_escaped(staff: Client, add_event: Callable[..., Event]) -> None:
    event = add_event(prompt_text="<script>alert(1)</script>")
    page = staff.get(reverse("admin:ingestion_event_change", args=[event.pk])).content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert(1)</script>" not in page


@pytest.mark.parametrize("term", ["chat-api", "gpt-4", "id", "abc123"])
def test_events_are_found_by_whole_values(staff: Client, add_event: Callable[..., Event], term: str) -> None:
    event = add_event(trace_id="abc123")
    add_event(service="search", model="claude")
    query = {"q": str(event.event_id) if term == "id" else term}
    page = staff.get(reverse("admin:ingestion_event_changelist"), query).content.decode()
    assert str(event.event_id) in page
    assert "claude" not in page


def test_a_halted_partition_says_why(staff: Client, add_cursor: Callable[..., PartitionCursor]) -> None:
    add_cursor(halted_reason="the log was replaced")
    add_cursor()
    page = staff.get(reverse("admin:ingestion_partitioncursor_changelist"), {"state": "halted"}).content.decode()
    assert "the log was replaced" in page
    assert "llm.telemetry[0]" in page
    assert "llm.telemetry[1]" not in page


def test_a_stranger_is_sent_to_the_login(anonymous: Client) -> None:
    response = anonymous.get(reverse("admin:ingestion_event_changelist"))
    assert (response.status_code, response.headers["Location"].partition("?")[0]) == (302, "/admin/login/")


def test_an_anomaly_says_what_happened_in_the_list_and_on_its_page(
    staff: Client, add_anomaly: Callable[..., Anomaly], add_event: Callable[..., Event]
) -> None:
    event = add_event()
    anomaly = add_anomaly(event_id=event.event_id)
    for url in (
        reverse("admin:detection_anomaly_changelist"),
        reverse("admin:detection_anomaly_change", args=[anomaly.pk]),
    ):
        assert escape(anomaly.explanation) in staff.get(url).content.decode()
    page = staff.get(reverse("admin:detection_anomaly_change", args=[anomaly.pk])).content.decode()
    assert reverse("admin:ingestion_event_change", args=[event.pk]) in page
