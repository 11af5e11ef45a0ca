"""A feed gives every new row once, in order of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from detection.models import Anomaly
from ingestion.models import Project
from sentinel.demo import feed as feeds
from sentinel.demo.feed import Feed

pytestmark = pytest.mark.django_db
START = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def project() -> Project:
    return Project.objects.get(slug="default")


def add(project: Project, seconds: float) -> Anomaly:
    return Anomaly.objects.create(
        project=project,
        service="s",
        model="m",
        metric="latency_ms",
        timestamp=START,
        detected_at=START + timedelta(seconds=seconds),
        anomaly_type="latency_spike",
        severity="low",
        detection_method="z_score",
        observed=1.0,
        deviation=4.0,
        threshold=3.0,
        confidence=0.9,
    )


def feed_of(**options: Any) -> Feed[Anomaly]:
    return Feed(Anomaly.objects.all(), "detected_at", since=START, **options)


def test_what_was_there_before_is_not_new(project: Project) -> None:
    add(project, -1)
    assert feed_of().poll() == []


def test_each_row_comes_once_in_order_of_time(project: Project) -> None:
    second, first = add(project, 2), add(project, 1)
    feed = feed_of()
    assert feed.poll() == [first, second]
    assert feed.poll() == []
    third = add(project, 3)
    assert feed.poll() == [third]


def test_rows_of_one_transaction_that_fill_several_pages_all_come(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "PAGE_ROWS", 3)
    rows = {add(project, 1).pk for _ in range(10)}
    feed = feed_of()
    assert {row.pk for row in feed.poll()} == rows
    assert feed.poll() == []


def test_an_overlap_finds_a_row_whose_transaction_began_earlier(project: Project) -> None:
    feed = feed_of(overlap=timedelta(seconds=5))
    late_riser = add(project, 9)
    assert feed.poll() == [late_riser]
    slow = add(project, 6)
    assert feed.poll() == [slow]
    assert feed.poll() == []


def test_a_horizon_leaves_the_last_moment_for_later(project: Project) -> None:
    now = datetime.now(UTC)
    fresh, old = add(project, (now - START).total_seconds()), add(project, 1)
    assert fresh not in feed_of(horizon=timedelta(seconds=60)).poll()
    assert old in feed_of(horizon=timedelta(seconds=60)).poll()
    assert fresh in feed_of().poll()
