"""Which events can be stored, judged by the log's time, and how the watermark moves."""

import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from django.db import connection

from ingestion.event_batch import EventBatch
from ingestion.lateness import (
    REFRESH_SECONDS,
    UNCOVERED_REFRESH_SECONDS,
    AttachedDays,
    advance_watermark,
    split_late,
)
from ingestion.limits import DEFAULT_LIMITS
from ingestion.partitions import ensure_partitions
from ingestion.validate import Accepted, decode_event

LOG_TIME = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def batch_at(times: Sequence[datetime], log_time: datetime = LOG_TIME) -> EventBatch:
    accepted = [_event(at) for at in times]
    log_ms = int(log_time.timestamp() * 1000)
    return EventBatch(1, list(range(len(accepted))), [log_ms] * len(accepted), accepted, [None] * len(accepted))


def _event(at: datetime) -> Accepted:
    payload = (
        f'{{"event_id":"{uuid.uuid4()}","timestamp":"{at.isoformat()}","service_name":"s","model":"m",'
        '"prompt":{"text":"p","tokens":1},"response":{"text":"r","tokens":1,"finish_reason":"stop"},"latency_ms":1}'
    )
    verdict = decode_event(payload.encode(), log_time_us=0, default_event_id=None, limits=DEFAULT_LIMITS)
    assert isinstance(verdict, Accepted)
    return verdict


@pytest.fixture
def days(db: None) -> AttachedDays:
    ensure_partitions(today=date(2026, 3, 10))
    return AttachedDays()


def reasons(days: AttachedDays, *times: datetime) -> list[str]:
    return split_late(batch_at(times), retention_seconds=30 * 86_400, days=days).reasons


def test_an_event_of_now_can_be_stored(days: AttachedDays) -> None:
    assert reasons(days, LOG_TIME, LOG_TIME - 29 * DAY, LOG_TIME + timedelta(minutes=59)) == []


def test_an_event_older_than_the_retention_is_late(days: AttachedDays) -> None:
    assert reasons(days, LOG_TIME - 30 * DAY - timedelta(seconds=1)) == ["too_old"]


def test_an_event_more_than_an_hour_ahead_is_late(days: AttachedDays) -> None:
    assert reasons(days, LOG_TIME + timedelta(minutes=61)) == ["in_future"]


def test_an_event_whose_day_has_no_partition_is_late(days: AttachedDays) -> None:
    assert split_late(batch_at([LOG_TIME - 35 * DAY]), retention_seconds=100 * 86_400, days=days).reasons == [
        "no_partition"
    ]


def test_an_event_whose_day_the_roll_ups_lack_is_late(days: AttachedDays) -> None:
    with connection.cursor() as sql:
        sql.execute("DROP TABLE metric_rollup_20260309")
    assert reasons(days, LOG_TIME - DAY, LOG_TIME) == ["no_partition"]


class AskedDays(AttachedDays):
    """Counts how often PostgreSQL is asked, on a clock of the test's own."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.asked = 0
        super().__init__(clock=lambda: self.now)

    def refresh(self) -> None:
        self.asked += 1
        super().refresh()


@pytest.fixture
def asked_days(days: AttachedDays) -> AskedDays:
    """Give the days as a process knows them that has just asked, when yesterday's was dropped a moment before."""
    with connection.cursor() as sql:
        sql.execute("DROP TABLE events_20260309")
    found = AskedDays()
    assert reasons(found, LOG_TIME - DAY) == ["no_partition"]
    return found


def test_a_day_that_is_made_again_is_stored_into_a_second_later(asked_days: AskedDays) -> None:
    ensure_partitions(today=date(2026, 3, 10))
    asked_days.now += UNCOVERED_REFRESH_SECONDS
    assert reasons(asked_days, LOG_TIME - DAY) == []


def test_a_flood_of_days_that_no_table_has_asks_once_a_second(asked_days: AskedDays) -> None:
    for _ in range(10):
        asked_days.now += UNCOVERED_REFRESH_SECONDS / 5
        reasons(asked_days, LOG_TIME - DAY)
    assert asked_days.asked == 3


def test_days_that_are_there_are_asked_for_once_a_minute(asked_days: AskedDays) -> None:
    for _ in range(10):
        asked_days.now += REFRESH_SECONDS / 5
        reasons(asked_days, LOG_TIME)
    assert asked_days.asked == 3


def test_storable_and_late_events_keep_their_order(days: AttachedDays) -> None:
    times = [LOG_TIME, LOG_TIME + DAY, LOG_TIME, LOG_TIME - 90 * DAY]
    found = split_late(batch_at(times), retention_seconds=30 * 86_400, days=days)
    assert (found.storable, found.late, found.reasons) == ([0, 2], [1, 3], ["in_future", "too_old"])


def test_the_watermark_never_passes_the_log_time() -> None:
    progress = advance_watermark(batch_at([LOG_TIME + timedelta(minutes=30)]), None)
    assert progress.watermark == LOG_TIME


def test_the_watermark_does_not_depend_on_how_the_log_was_cut() -> None:
    rng = np.random.default_rng(5)
    times = [LOG_TIME - timedelta(seconds=float(s)) for s in rng.uniform(0, 90, 200)]
    whole = advance_watermark(batch_at(times), None)
    watermark, flags = None, []
    for start in range(0, 200, 7):
        part = advance_watermark(batch_at(times[start : start + 7]), watermark)
        watermark = part.watermark
        flags += part.after_window.tolist()
    assert (watermark, flags) == (whole.watermark, whole.after_window.tolist())
    assert 0 < sum(flags) < 200
