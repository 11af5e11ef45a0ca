"""The bridge's alarms: partitions that lag without progress, cursors beyond the end of their log, days without a table.

Every bridge looks at every partition, owned or not: the one that should serve it may be the one that is gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import structlog
from django.db import connection

from ingestion import cursor as cursors
from ingestion.condition import STALLED_SECONDS, Condition, CursorRow, Runbook, State, condition_of
from ingestion.membership import Key
from ingestion.missing_days import missing_days
from ingestion.models import HaltReason, PartitionCursor
from ingestion.standstill import REPEAT_SECONDS, Standstill

logger = structlog.get_logger(__name__)

# A clean leader election can show a shorter log for a moment.
BEYOND_END_SECONDS = 60.0


class Alarms:
    """Call `look` with every reading of the log's ends."""

    def __init__(
        self,
        *,
        stalled_seconds: float = STALLED_SECONDS,
        beyond_end_seconds: float = BEYOND_END_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stalled_seconds = stalled_seconds
        self._beyond_end_seconds = beyond_end_seconds
        self._clock = clock
        self._lagging: dict[int, Standstill] = {}
        self._beyond: dict[int, Standstill] = {}

    def look(self, rows: Sequence[PartitionCursor], ends: Mapping[Key, int]) -> None:
        """Raise the alarm where it is due; a cursor beyond the end for too long halts.

        The rows carry the database's clock as `db_now`. Nothing is said, and nothing forgotten, of partitions whose end
        is not among the `ends` that were just read.
        """
        for row in rows:
            end = ends.get((row.topic, row.partition))
            if end is None:
                continue
            sight = self._sight(self._lagging, row, standing=end > row.next_offset)
            if sight is not None and sight.is_due(self._clock(), after_seconds=self._stalled_seconds):
                self._say_stalled(row, sight, lag=end - row.next_offset)
            sight = self._sight(self._beyond, row, standing=end < row.next_offset and not row.halted_reason)
            if sight is not None and sight.is_due(self._clock(), after_seconds=self._beyond_end_seconds):
                self._halt_beyond(row, end)

    def _sight(self, sights: dict[int, Standstill], row: PartitionCursor, *, standing: bool) -> Standstill | None:
        if not standing:
            sights.pop(row.pk, None)
            return None
        known = sights.get(row.pk)
        if known is None or known.offset != row.next_offset:
            known = sights[row.pk] = Standstill(row.next_offset, self._clock())
        return known

    def _say_stalled(self, row: PartitionCursor, sight: Standstill, *, lag: int) -> None:
        condition = _condition(row)
        logger.error(
            "partition.stalled",
            partition=str(row),
            state=condition.state,
            lag=lag,
            seconds=round(self._clock() - sight.since),
            why=condition.why,
            runbook=condition.runbook.path,
        )

    def _halt_beyond(self, row: PartitionCursor, end: int) -> None:
        cursors.halt(
            cursors.current_attempt(row),
            because=HaltReason.BEYOND_END,
            reason=f"the cursor stands at {row.next_offset}, the log ends at {end}",
        )


def _condition(row: PartitionCursor) -> Condition:
    """Return why the partition stands, as its row tells; the bridge has seen that it does."""
    found = condition_of(CursorRow.of(row), now=row.db_now)  # type: ignore[attr-defined]  # annotated by the query
    if found.runbook:
        return found
    why = "nothing was committed although the log has more"
    return replace(found, state=State.STUCK, why=why, runbook=Runbook.PARTITION_STALLED)


class DayAlarm:
    """Call `look` in every step; it asks the database every 30 seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked_at = float("-inf")

    def look(self) -> None:
        """Raise the alarm on every table that lacks a day."""
        if self._clock() - self._looked_at < REPEAT_SECONDS:
            return
        self._looked_at = self._clock()
        with connection.cursor() as sql:
            missing = missing_days(sql)
        for table, items in groupby(missing, key=lambda item: item.table):
            days = [str(item.day) for item in items]
            logger.error("day.missing", table=table, days=days, runbook=Runbook.DAY_MISSING.path)
