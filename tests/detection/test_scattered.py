"""Series that arrive through several partitions are found, said and forgotten again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from structlog.testing import capture_logs

from detection.models import Baseline
from detection.scattered import report_scattered
from ingestion.models import PartitionCursor, Project, Series, Topic
from ingestion.scattered_series import ScatteredSeries, scattered_series

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    return Project.objects.get(slug="default")


@pytest.fixture(autouse=True)
def topic(project: Project) -> str:
    return Topic.objects.get_or_create(name="llm.telemetry", project=project)[0].name


def add_series(project: Project, service: str, *partitions: int) -> Series:
    """Return a series with a baseline in each of the partitions."""
    series = Series.objects.create(project=project, service=service, model="m")
    row: dict[str, Any] = {"project": project, "cluster_id": "c", "topic_id": "t", "topic": "llm.telemetry"}
    for partition in partitions:
        found, _ = PartitionCursor.objects.get_or_create(partition=partition, **row)
        Baseline.objects.create(cursor=found, series=series, batch_id=1, next_offset=1, state=b"")
    return series


def kept() -> list[ScatteredSeries]:
    """Return what is read without Django, as `sentinel status` does."""
    with connection.cursor() as sql:
        return list(scattered_series(sql))


def test_a_series_in_several_partitions_is_one_warning_with_an_example_and_no_text(project: Project) -> None:
    add_series(project, "fine", 0)
    first = add_series(project, "scattered", 0, 1, 2)
    add_series(project, "too", 1, 2)
    with capture_logs() as lines:
        report_scattered()
    assert lines == [
        {
            "event": "series.scattered",
            "log_level": "warning",
            "topic": "llm.telemetry",
            "series": 2,
            "example_id": first.pk,
            "runbook": "docs/runbooks/series-scattered.md",
        }
    ]
    assert kept() == [ScatteredSeries(project.pk, "llm.telemetry", 2, first.pk)]


def test_where_every_series_has_one_partition_nothing_is_said(project: Project) -> None:
    add_series(project, "a", 0)
    add_series(project, "b", 1)
    with capture_logs() as lines:
        report_scattered()
    assert (lines, kept()) == ([], [])


def test_a_series_that_has_moved_is_forgotten_within_the_hour(project: Project) -> None:
    add_series(project, "moved", 0, 1)
    report_scattered()
    Baseline.objects.filter(cursor__partition=0).update(updated_at=F("updated_at") - timedelta(hours=2))
    report_scattered()
    assert kept() == []


def test_a_topic_that_was_deleted_and_created_again_scatters_nothing(project: Project) -> None:
    series = add_series(project, "a", 0)
    anew = PartitionCursor.objects.create(
        project=project, cluster_id="c", topic_id="u", topic="llm.telemetry", partition=0
    )
    Baseline.objects.create(cursor=anew, series=series, batch_id=1, next_offset=1, state=b"")
    report_scattered()
    assert kept() == []


def test_what_nobody_has_looked_at_for_hours_is_not_told_as_if_it_were_so(project: Project) -> None:
    add_series(project, "a", 0, 1)
    report_scattered()
    Topic.objects.update(scattered_at=F("scattered_at") - timedelta(hours=2))
    assert kept() == []
