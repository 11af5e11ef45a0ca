"""Which events of a range cannot be stored because of their time, and which come after their window was scored."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt

from ingestion.event_batch import EventBatch, Ints
from ingestion.late_events import NO_PARTITION
from ingestion.partitions import attached_days
from ingestion.validate import is_late

DAY_US = 86_400_000_000
REFRESH_SECONDS = 60.0
# A day that was missing may just have been made; an event that is late once stays late.
UNCOVERED_REFRESH_SECONDS = 1.0
# Windows are scored once the watermark is this far beyond their end.
ALLOWED_LATENESS_US = 30_000_000
_EPOCH = date(1970, 1, 1)
_EPOCH_TIME = datetime(1970, 1, 1, tzinfo=UTC)


class AttachedDays:
    """The days that events and their roll-ups have a partition for, as this process last saw them."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._days: npt.NDArray[np.int64] = np.array([], np.int64)
        self._refreshed_at = float("-inf")

    def refresh(self) -> None:
        """Ask PostgreSQL again."""
        days = set(attached_days("events")) & set(attached_days("metric_rollup"))
        self._days = np.array(sorted((day - _EPOCH).days for day in days), np.int64)
        self._refreshed_at = self._clock()

    def cover(self, timestamps_us: Ints) -> npt.NDArray[np.bool_]:
        """Return, for every time, whether its day has a partition."""
        if self._age_seconds() >= REFRESH_SECONDS:
            self.refresh()
        wanted = timestamps_us // DAY_US
        covered = np.isin(wanted, self._days)
        if not covered.all() and self._age_seconds() >= UNCOVERED_REFRESH_SECONDS:
            self.refresh()
            covered = np.isin(wanted, self._days)
        return covered

    def _age_seconds(self) -> float:
        return self._clock() - self._refreshed_at


@dataclass(frozen=True, slots=True)
class Timely:
    """Positions of events that can be stored; positions of late ones with their reasons."""

    storable: list[int]
    late: list[int]
    reasons: list[str]


def split_late(batch: EventBatch, *, retention_seconds: int, days: AttachedDays) -> Timely:
    """Compare event times with the log's own time, so that a replay decides as the first run did."""
    timestamps = batch.timestamps_us
    log_times = np.array(batch.log_times_ms, np.int64) * 1000
    covered = days.cover(timestamps)
    storable: list[int] = []
    late: list[int] = []
    reasons: list[str] = []
    suspects = ~covered | (timestamps < log_times - retention_seconds * 1_000_000) | (timestamps > log_times)
    for position, suspect in enumerate(suspects.tolist()):
        reason: str | None = None
        if suspect:
            reason = is_late(int(timestamps[position]), int(log_times[position]), retention_seconds)
            if reason is None and not covered[position]:
                reason = NO_PARTITION
        if reason is None:
            storable.append(position)
        else:
            late.append(position)
            reasons.append(str(reason))
    return Timely(storable, late, reasons)


@dataclass(frozen=True, slots=True)
class Progress:
    """The partition's watermark after a range, and which events came after their window could be scored."""

    watermark: datetime | None
    after_window: npt.NDArray[np.bool_]


def advance_watermark(batch: EventBatch, watermark: datetime | None) -> Progress:
    """Fold min(event time, log time) record by record: the result does not depend on how the log was cut."""
    if not len(batch):
        return Progress(watermark, np.zeros(0, np.bool_))
    timestamps = batch.timestamps_us
    candidates = np.minimum(timestamps, np.array(batch.log_times_ms, np.int64) * 1000)
    floor = (watermark - _EPOCH_TIME) // timedelta(microseconds=1) if watermark else int(candidates[0])
    running = np.maximum.accumulate(np.concatenate(([floor], candidates)))
    after_window = timestamps < running[:-1] - ALLOWED_LATENESS_US
    moved = _EPOCH_TIME + timedelta(microseconds=int(running[-1]))
    return Progress(moved, after_window)
