"""Row 20: the tables lack days: one that events still arrive for, and tomorrow, until tomorrow has come."""

from __future__ import annotations

import re
import time
from datetime import UTC, date, datetime, timedelta

import pytest

from ingestion.standstill import REPEAT_SECONDS
from sentinel.child import wait_until
from tests.faults.arena import Arena, Arenas
from tests.faults.load import Kind
from tests.faults.reference import Reference
from tests.faults.setting import read_setting

pytestmark = pytest.mark.fault

EVENTS = 200
ALARM_MARGIN_SECONDS = 5.0
BOUND_SECONDS = 5.0


def test_row_20_a_missing_day_is_an_alarm_and_its_events_are_kept_as_late(arenas: Arenas) -> None:
    today = datetime.now(UTC).date()
    yesterday, tomorrow = today - timedelta(days=1), today + timedelta(days=1)
    with arenas.open(row="20", fault="days of the tables dropped: yesterday, tomorrow") as arena:
        arena.servers.configure_topic(arena.topic, {"message.timestamp.after.max.ms": f"{3 * 86_400_000}"})
        # By then every child of the worker has seen that these days are there.
        arena.start_load(per_second=1_000)
        lacking = [f"events_{yesterday:%Y%m%d}", f"events_{tomorrow:%Y%m%d}", f"metric_rollup_{tomorrow:%Y%m%d}"]
        for table in lacking:
            arena.witness.execute(f"DROP TABLE {table}")
        arena.reference = Reference(arena.log, read_setting(arena.witness, arena.topic), arena.topic)
        with arena.fault() as fault:
            send_events_of(arena, yesterday)
            # What the log will hold by then.
            send_events_of(arena, tomorrow, log_time=datetime(*tomorrow.timetuple()[:3], 23, 59, 59, tzinfo=UTC))
            assert wait_until(
                lambda: alarmed(arena) == {("events", str(yesterday)), *both(tomorrow)},
                timeout_seconds=REPEAT_SECONDS + ALARM_MARGIN_SECONDS * arena.slowness,
            ), arena.lines("bridge", "day.missing")
            arena.remarks.append(f"alarm within {time.time() - fault.began_at:.0f} s")
            told = arena.json("status", exit_code=1)["missing_days"]
        figures = arena.finish()
        query = "SELECT reason, to_timestamp(timestamp_us / 1000000)::date FROM ingestion_lateevent WHERE reason <> 'too_old'"
        late = sorted(arena.witness.rows(query))
    assert {(item["table"], item["day"]) for item in told} == {("events", str(yesterday)), *both(tomorrow)}
    assert late == [("no_partition", yesterday)] * EVENTS + [("no_partition", tomorrow)] * EVENTS
    assert figures.standstill_max_seconds is not None
    assert figures.standstill_max_seconds <= BOUND_SECONDS * arena.slowness


def send_events_of(arena: Arena, day: date, *, log_time: datetime | None = None) -> None:
    """Send events of a day."""
    log_time_ms = None if log_time is None else round(log_time.timestamp() * 1_000)
    for event in arena.load.events_to_come(EVENTS):
        value = re.sub(rb'"timestamp":"[^T"]+', f'"timestamp":"{day}'.encode(), event.value)
        arena.load.send(value, kind=Kind.LATE, log_time_ms=log_time_ms)
        time.sleep(0.01)


def both(day: date) -> set[tuple[str, str]]:
    """Return the tables of history with a day."""
    return {("events", str(day)), ("metric_rollup", str(day))}


def alarmed(arena: Arena) -> set[tuple[str, str]]:
    """Return the tables and days that the bridge has raised the alarm on."""
    found = set()
    for line in arena.lines("bridge", "day.missing"):
        table = re.search(r"table=(\w+)", line)
        assert table, line
        found |= {(table[1], day) for day in re.findall(r"\d{4}-\d\d-\d\d(?=')", line)}
    return found
