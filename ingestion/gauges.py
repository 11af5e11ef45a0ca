"""The gauges of what stands in the database, read when Prometheus asks, and never waited for long.

They are true whichever of Sentinel's processes died, and wherever the web process runs. A database that does not answer
in time leaves them out and says so: yesterday's figures would look like today's.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import structlog
from django.db import connection, transaction
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ingestion import metrics
from ingestion.clock import database_now
from ingestion.condition import Condition, State
from ingestion.missing_days import missing_days
from ingestion.models import GapReason, HaltReason
from ingestion.partitions import TABLES, attached_days
from ingestion.reject import RejectReason, SetAsideReason
from ingestion.scattered_series import ScatteredSeries, scattered_series
from ingestion.survey import survey

logger = structlog.get_logger(__name__)

TIMEOUT_SECONDS = 2.0
FRESH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What the database says.

    `projects` holds slugs by id, `gaps` ranges and offsets by reason, `dead_letters` records by reason, `days_ahead`
    and `days_missing` days by table.
    """

    conditions: Sequence[Condition] = ()
    projects: Mapping[int, str] = field(default_factory=dict)
    gaps: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    days_ahead: Mapping[str, int] = field(default_factory=dict)
    days_missing: Mapping[str, int] = field(default_factory=dict)
    scattered: Sequence[ScatteredSeries] = ()


class DatabaseGauges(Collector):
    """Safe to share between threads. A database that hangs is asked by one thread at a time."""

    def __init__(self, read: Callable[[], Figures] | None = None, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._read = read or read_figures
        self._timeout_seconds = timeout_seconds
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gauges")
        self._lock = threading.Lock()
        self._figures: Figures | None = None
        self._pending: Future[Figures] | None = None
        self._read_at = float("-inf")

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield every family, without samples but `sentinel_partitions_known` where the database does not answer."""
        figures = self._current()
        known = metrics.PARTITIONS_KNOWN.family()
        known.add_metric((), figures is not None)
        yield known
        yield from families(figures)

    def _current(self) -> Figures | None:
        with self._lock:
            if time.monotonic() - self._read_at > FRESH_SECONDS:
                self._refresh()
            return self._figures

    def _refresh(self) -> None:
        if self._pending is None:
            self._pending = self._pool.submit(self._read)
        try:
            self._figures = self._pending.result(timeout=self._timeout_seconds)
            self._pending = None
        except TimeoutError:
            self._figures = None  # Still under way; the next look takes its answer.
        except Exception as error:  # noqa: BLE001  # A page of metrics shows what it can: that is its purpose.
            self._figures = self._pending = None
            logger.warning("gauges.unavailable", error=type(error).__name__)
        self._read_at = time.monotonic()


def families(figures: Figures | None) -> Iterator[GaugeMetricFamily]:
    """Yield the families with the figures as samples; without figures, bare."""
    for gauge, samples in _samples(figures).items():
        family = gauge.family()
        for labels, value in samples.items():
            family.add_metric(labels, value)
        yield family


Samples = Mapping[tuple[str, ...], float]


def _samples(figures: Figures | None) -> Mapping[metrics.ReadGauge, Samples]:
    found = figures or Figures()
    samples: dict[metrics.ReadGauge, Samples] = {
        metrics.PARTITIONS: _counted(State, [item.state for item in found.conditions]),
        metrics.PARTITIONS_HALTED: _counted(
            HaltReason, [item.halted_because for item in found.conditions if item.state is State.HALTED]
        ),
        metrics.PARTITION_LAG: _by_place(found, lambda item: item.lag),
        metrics.PARTITION_STALLED_SECONDS: _by_place(found, lambda item: item.stalled_seconds),
        metrics.PARTITION_UNSEEN_SECONDS: _by_place(found, lambda item: item.unseen_seconds),
        metrics.PARTITION_HELD_UP_SECONDS: _by_place(found, lambda item: item.held_up_seconds),
        metrics.PARTITION_STRIKES: _by_place(found, lambda item: item.strikes),
        metrics.SCATTERED_SERIES: {
            (found.projects[item.project_id], item.topic): item.series for item in found.scattered
        },
        metrics.GAPS: {(reason.value,): found.gaps.get(reason, (0, 0))[0] for reason in GapReason},
        metrics.GAP_OFFSETS: {(reason.value,): found.gaps.get(reason, (0, 0))[1] for reason in GapReason},
        metrics.DEAD_LETTERS_LAST_HOUR: {
            (reason.value,): found.dead_letters.get(reason, 0) for reason in (*RejectReason, *SetAsideReason)
        },
        metrics.DAYS_AHEAD: {(table,): days for table, days in found.days_ahead.items()},
        metrics.DAYS_MISSING: {(table,): days for table, days in found.days_missing.items()},
    }
    if figures is None:
        return {gauge: {} for gauge in samples}
    return samples


def _counted(kinds: Any, found: Sequence[str]) -> Samples:
    """Count each kind, those that do not occur as 0; a halt of an earlier version has no kind, and is "other"."""
    counts = Counter(value or metrics.OTHER for value in found)
    return {(value,): counts[value] for value in dict.fromkeys([*(kind.value for kind in kinds), *counts])}


def _by_place(figures: Figures, value: Callable[[Condition], float]) -> Samples:
    """Return the largest value for each topic and partition: after a change of the log two cursors share a place."""
    samples: dict[tuple[str, ...], float] = {}
    for item in figures.conditions:
        if item.state is not State.CLOSED:
            place = (figures.projects[item.project_id], item.topic, str(item.partition))
            samples[place] = max(samples.get(place, 0), value(item))
    return samples


_GAPS = "SELECT reason, count(*), sum(end_offset - start_offset)::bigint FROM ingestion_gap GROUP BY reason"
# Naming the projects lets the index (project, created_at) serve.
_DEAD_LETTERS = """
    SELECT reason, sum(records)::bigint FROM ingestion_deadletter
    WHERE project_id IN (SELECT id FROM ingestion_project) AND created_at > now() - interval '1 hour'
    GROUP BY reason
"""


def read_figures() -> Figures:
    """Ask the database; meant for a thread of its own, whose connection is closed."""
    try:
        with transaction.atomic(), connection.cursor() as sql:
            sql.execute(f"SET LOCAL statement_timeout = {round(TIMEOUT_SECONDS * 1000)}")
            conditions = survey(sql, with_closed=True)
            scattered = scattered_series(sql)
            # After the cursors and topics, whose projects are never deleted.
            sql.execute("SELECT id, slug FROM ingestion_project")
            projects = dict(sql.fetchall())
            sql.execute(_GAPS)
            gaps = {reason: (ranges, offsets) for reason, ranges, offsets in sql.fetchall()}
            sql.execute(_DEAD_LETTERS)
            dead_letters = dict(sql.fetchall())
            today = database_now().date()
            ahead = {table.name: days_ahead(attached_days(table.name), today=today) for table in TABLES}
            lacking = Counter(item.table for item in missing_days(sql))
            missing = {table.name: lacking[table.name] for table in TABLES}
            return Figures(conditions, projects, gaps, dead_letters, ahead, missing, scattered)
    finally:
        connection.close()


def days_ahead(days: Collection[date], *, today: date) -> int:
    """Count the days after today, without a break, that are among `days`."""
    ahead = 0
    while today + timedelta(days=ahead + 1) in days:
        ahead += 1
    return ahead
