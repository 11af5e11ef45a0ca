"""Row 20: the table of events lacks days: one that events arrive for, and tomorrow."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.arena import Arenas
from tests.faults.load import Kind
from tests.faults.reference import Reference
from tests.faults.setting import read_setting

pytestmark = pytest.mark.fault

EVENTS = 200
BOUND_SECONDS = 5.0


def test_row_20_events_of_a_missing_day_are_kept_as_late_and_hold_nobody_up(arenas: Arenas) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    with arenas.open(row="20", fault="days of the table of events dropped: yesterday, tomorrow") as arena:
        # By then every child of the worker has seen that these days are there.
        arena.start_load(per_second=1_000)
        for day in (yesterday, yesterday + timedelta(days=2)):
            arena.witness.execute(f"DROP TABLE events_{day:%Y%m%d}")
        arena.reference = Reference(arena.log, read_setting(arena.witness, arena.topic), arena.topic)
        with arena.fault():
            for event in arena.load.events_to_come(EVENTS):
                value = re.sub(rb'"timestamp":"[^T"]+', f'"timestamp":"{yesterday:%Y-%m-%d}'.encode(), event.value)
                arena.load.send(value, kind=Kind.LATE)
                time.sleep(0.01)
        figures = arena.finish()
        late = arena.witness.value("SELECT count(*) FROM ingestion_lateevent WHERE reason = 'no_partition'")
    assert late == EVENTS
    assert figures.standstill_max_seconds is not None
    assert figures.standstill_max_seconds <= BOUND_SECONDS * arena.slowness
