from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from ingestion.condition import Condition, State
from ingestion.models import PartitionCursor, Project
from ingestion.survey import survey

pytestmark = pytest.mark.django_db


DAY_AGO = datetime.now(UTC) - timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)


def add_cursor(**values: Any) -> PartitionCursor:
    row = {"cluster_id": "kafka", "topic_id": "t", "topic": "llm.telemetry", "partition": 0, "log_end_at": now()}
    return PartitionCursor.objects.create(project=Project.objects.get(slug="default"), **(row | values))


def surveyed(*, with_closed: bool = False) -> list[Condition]:
    with connection.cursor() as sql:
        return survey(sql, with_closed=with_closed)


def test_partitions_are_in_the_order_of_their_names_and_closed_ones_are_left_out() -> None:
    add_cursor(partition=2)
    add_cursor(partition=10)
    add_cursor(partition=1, closed_at=now())
    add_cursor(topic="a.topic", partition=5)
    assert [item.name for item in surveyed()] == ["a.topic[5]", "llm.telemetry[2]", "llm.telemetry[10]"]
    assert len(surveyed(with_closed=True)) == 4


def test_a_partition_whose_log_nobody_sees_is_stuck() -> None:
    add_cursor(log_end_at=DAY_AGO)
    add_cursor(partition=1, cluster_id="kafka", log_end_at=now())
    assert [item.state for item in surveyed()] == [State.STUCK, State.IDLE]


def test_going_from_postgres_to_kafka_leaves_no_alarm_behind() -> None:
    old = add_cursor(cluster_id="postgres", next_offset=9, log_end=9, log_end_at=DAY_AGO)
    new = add_cursor()
    found = {item.cursor_id: item for item in surveyed()}
    assert (found[old.pk].state, found[new.pk].state) == (State.IDLE, State.IDLE)
    assert found[old.pk].why == "its log is not in use; all that it held is ingested"


def test_records_left_in_the_log_of_before_are_an_alarm() -> None:
    old = add_cursor(cluster_id="postgres", next_offset=9, log_end=12, log_end_at=DAY_AGO)
    add_cursor()
    found = {item.cursor_id: item for item in surveyed()}
    assert (found[old.pk].state, found[old.pk].lag) == (State.STUCK, 3)
