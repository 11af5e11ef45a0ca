"""What was sent is found in the events table, row by row."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from ingestion.models import Event, Project
from ingestion.partitions import ensure_partitions
from sentinel.demo.replay import SentRow, checksum
from sentinel.demo.stored import find, project_of_topic, wait_until_stored

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC).replace(microsecond=123_456)


@pytest.fixture
def project() -> Project:
    ensure_partitions()
    return Project.objects.get(slug="default")


def sent_rows(count: int) -> list[SentRow]:
    now_us = int(NOW.timestamp()) * 1_000_000 + NOW.microsecond
    return [SentRow(uuid.uuid4(), now_us - number) for number in range(count)]


def store(row: SentRow, project: Project) -> None:
    Event.objects.create(
        event_id=row.event_id,
        project=project,
        timestamp=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=row.timestamp_us),
        ingested_at=NOW,
        cursor_id=1,
        log_offset=0,
        scored=True,
        service="s",
        model="m",
        latency_ms=1.0,
        has_errors=False,
    )


def test_rows_that_are_all_stored_have_the_checksum_of_their_ids(project: Project) -> None:
    rows = sent_rows(20)
    for row in rows:
        store(row, project)
    found = find(rows, project_id=project.pk)
    assert (found.rows, list(found.missing)) == (20, [])
    assert found.checksum == checksum([row.event_id for row in rows])


def test_a_missing_row_is_named(project: Project) -> None:
    rows = sent_rows(3)
    for row in rows[1:]:
        store(row, project)
    found = find(rows, project_id=project.pk)
    assert (found.rows, list(found.missing)) == (2, rows[:1])


def test_the_same_id_at_another_time_is_another_event(project: Project) -> None:
    (row,) = sent_rows(1)
    store(SentRow(row.event_id, row.timestamp_us - 1), project)
    assert find([row], project_id=project.pk).rows == 0


def test_another_project_does_not_count(project: Project) -> None:
    (row,) = sent_rows(1)
    store(row, project)
    other = Project.objects.create(slug="other", name="Other")
    assert find([row], project_id=other.pk).rows == 0


def test_waiting_ends_when_nothing_more_comes(project: Project) -> None:
    rows = sent_rows(2)
    store(rows[0], project)
    assert wait_until_stored(rows, project_id=project.pk, timeout_seconds=0.1).rows == 1


def test_a_topic_that_nobody_reads_is_an_error(project: Project) -> None:
    assert project_of_topic("llm.telemetry") == project.pk
    with pytest.raises(LookupError, match="nobody reads it"):
        project_of_topic("elsewhere")
