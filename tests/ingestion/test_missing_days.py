"""Which days the tables lack, and that somebody says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from structlog.testing import capture_logs

from ingestion.alarm import DayAlarm
from ingestion.missing_days import MissingDay, missing_days
from ingestion.models import Project
from ingestion.partitions import ensure_partitions, partition_name
from ingestion.standstill import REPEAT_SECONDS

pytestmark = pytest.mark.django_db(transaction=True)

TODAY = datetime.now(UTC).date()
TOMORROW = TODAY + timedelta(days=1)


@pytest.fixture(autouse=True)
def days() -> Iterator[None]:
    """Make every day that is wanted, before and after."""
    ensure_partitions()
    yield
    Project.objects.update(retention_days=30)
    ensure_partitions()


def drop(table: str, day: date) -> None:
    with connection.cursor() as sql:
        sql.execute(f"DROP TABLE {partition_name(table, day)}")


def found() -> list[MissingDay]:
    with connection.cursor() as sql:
        return list(missing_days(sql))


def test_none_is_missing_where_all_were_made() -> None:
    assert found() == []


def test_tomorrow_is_missed_in_every_table() -> None:
    for table in ("events", "metric_rollup", "inbox"):
        drop(table, TOMORROW)
    assert found() == [MissingDay(table, TOMORROW) for table in ("events", "inbox", "metric_rollup")]


def test_a_past_day_is_missed_where_it_is_still_kept() -> None:
    yesterday = TODAY - timedelta(days=1)
    drop("events", yesterday)
    assert found() == [MissingDay("events", yesterday)]
    Project.objects.update(retention_days=0)
    assert found() == []


def test_days_further_ahead_are_not_missed_yet() -> None:
    drop("events", TODAY + timedelta(days=2))
    assert found() == []


def test_the_alarm_names_the_days_and_is_repeated() -> None:
    moment = 0.0
    alarm = DayAlarm(clock=lambda: moment)
    drop("events", TOMORROW)
    with capture_logs() as lines:
        alarm.look()
        alarm.look()
        moment = REPEAT_SECONDS
        alarm.look()
        ensure_partitions()
        moment *= 2
        alarm.look()
    assert (
        lines
        == [
            {
                "event": "day.missing",
                "log_level": "error",
                "table": "events",
                "days": [str(TOMORROW)],
                "runbook": "docs/runbooks/day-missing.md",
            }
        ]
        * 2
    )
