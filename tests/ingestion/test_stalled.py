from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from ingestion.models import PartitionCursor, Project
from ingestion.stalled import report_stalled

pytestmark = pytest.mark.django_db


HOUR_AGO = datetime.now(UTC) - timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC)


def add_cursor(partition: int, **values: Any) -> None:
    row = {"cluster_id": "c", "topic_id": "t", "topic": "llm.telemetry", "log_end_at": now()}
    cursor = PartitionCursor.objects.create(
        project=Project.objects.get(slug="default"), partition=partition, **(row | values)
    )
    PartitionCursor.objects.filter(pk=cursor.pk).update(progressed_at=HOUR_AGO)


def test_only_what_stands_is_reported_with_lag_since_and_why() -> None:
    add_cursor(0)
    add_cursor(1, log_end=9, attempt=4, dispatches=7, dispatched_at=now(), range_since=HOUR_AGO)
    add_cursor(2, closed_at=now(), log_end=9, log_end_at=HOUR_AGO)
    with capture_logs() as lines:
        assert [condition.name for condition in report_stalled()] == ["llm.telemetry[1]"]
    assert lines == [
        {
            "event": "partition.stalled",
            "log_level": "error",
            "partition": "llm.telemetry[1]",
            "state": "stuck",
            "lag": 9,
            "since": HOUR_AGO.isoformat(),
            "why": "no worker takes its task, which was sent 7 times",
            "runbook": "docs/runbooks/waiting-for-workers.md",
        }
    ]


def test_a_record_after_an_hour_of_rest_is_no_alarm() -> None:
    add_cursor(0, log_end=1, attempt=1, dispatches=1, dispatched_at=now(), range_since=now())
    add_cursor(1, log_end=1)
    assert report_stalled() == []


def test_a_partition_that_no_bridge_looks_at_is_an_alarm_although_its_lag_is_unknown() -> None:
    add_cursor(0, log_end_at=HOUR_AGO)
    (found,) = report_stalled()
    assert found.runbook == "log-unseen"


def test_a_halted_partition_is_an_alarm_until_somebody_has_decided() -> None:
    add_cursor(0, halted_because="other_cluster", halted_reason="the brokers belong to cluster x")
    (found,) = report_stalled()
    assert (found.state, found.why) == ("halted", "the brokers belong to cluster x")
