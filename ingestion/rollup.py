"""Add the new events of a range to the 30-second roll-ups of their series.

Rows belong to (cursor, series, window), so that only the holder of the cursor's row lock writes them; sums are added
in SQL, sketches are read, merged and written back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt
from django.db import connection
from psycopg2.errors import CheckViolation
from psycopg2.extras import execute_values

from ingestion import sketch
from ingestion.event_batch import EventBatch, Floats, Ints, SeriesKey
from ingestion.partitions import PartitionMissing

WINDOW_SECONDS = 30
# Whole numbers up to here are exact in a float.
MAX_EXACT = 2.0**53

Booleans = npt.NDArray[np.bool_]
Groups = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Grouped:
    """Which (series, window) each event belongs to: `index` int64[n] into `series_ids` and `windows_s`."""

    index: Groups
    series_ids: list[int]
    windows_s: list[int]

    def __len__(self) -> int:
        return len(self.series_ids)

    def count(self, mask: Booleans) -> list[int]:
        counts: list[int] = np.bincount(self.index[mask], minlength=len(self)).tolist()
        return counts

    def total(self, values: Floats) -> list[float]:
        """Return the sum of the known values of each group."""
        known = ~np.isnan(values)
        totals: list[float] = np.bincount(self.index[known], values[known], minlength=len(self)).tolist()
        return totals

    def exact_total(self, values: Floats, *, decimal_places: int) -> list[Decimal]:
        """Return the sum of the known values of each group, each value rounded to so many places first.

        Whole numbers, because sums of floats depend on how they are grouped, and so on how the log was cut.
        """
        known = ~np.isnan(values)
        units = np.rint(values[known] * 10.0**decimal_places)
        if np.abs(units).sum() < MAX_EXACT:
            totals = [int(total) for total in np.bincount(self.index[known], units, minlength=len(self)).tolist()]
        else:
            totals = [0] * len(self)
            for group, unit in zip(self.index[known].tolist(), units.tolist(), strict=True):
                totals[group] += int(unit)
        return [Decimal(total).scaleb(-decimal_places) for total in totals]

    def extreme(self, values: Floats, reduce: np.ufunc, start: float) -> list[float | None]:
        found = np.full(len(self), start)
        known = ~np.isnan(values)
        reduce.at(found, self.index[known], values[known])
        return [None if value == start else value for value in found.tolist()]


_SKETCHED = ("latency_sketch", "ttft_sketch", "tokens_sketch", "cost_sketch")
_NO_SKETCHES = (b"",) * len(_SKETCHED)
_COLUMNS = (
    "cursor_id",
    "series_id",
    "window_start",
    "events",
    "weight",
    "errors",
    "late_events",
    "latency_count",
    "latency_sum",
    "latency_min",
    "latency_max",
    "ttft_count",
    "ttft_sum",
    "tokens_count",
    "prompt_tokens_sum",
    "completion_tokens_sum",
    "cost_count",
    "cost_sum",
    *_SKETCHED,
)
_SUMMED = (
    "events",
    "weight",
    "errors",
    "late_events",
    "latency_count",
    "latency_sum",
    "ttft_count",
    "ttft_sum",
    "tokens_count",
    "prompt_tokens_sum",
    "completion_tokens_sum",
    "cost_count",
    "cost_sum",
)
_UPSERT = f"""
    INSERT INTO metric_rollup AS kept ({", ".join(_COLUMNS)}) VALUES %s
    ON CONFLICT (series_id, window_start, cursor_id) DO UPDATE SET
        {", ".join(f"{name} = kept.{name} + excluded.{name}" for name in _SUMMED)},
        latency_min = least(kept.latency_min, excluded.latency_min),
        latency_max = greatest(kept.latency_max, excluded.latency_max),
        {", ".join(f"{name} = excluded.{name}" for name in _SKETCHED)}
"""
_EXISTING = f"""
    SELECT kept.series_id, wanted.seconds, {", ".join(f"kept.{name}" for name in _SKETCHED)}
    FROM (VALUES %s) AS wanted (cursor_id, series_id, seconds)
    JOIN metric_rollup kept ON kept.series_id = wanted.series_id
        AND kept.window_start = to_timestamp(wanted.seconds) AND kept.cursor_id = wanted.cursor_id
"""


def add_to_rollups(
    batch: EventBatch, *, cursor_id: int, series_ids: Mapping[SeriesKey, int], after_window: Booleans
) -> int:
    """Merge new events into the roll-ups inside the caller's transaction; return how many rows were written.

    `after_window` marks events that came after their window could be scored; they are counted and marked. Raises
    `PartitionMissing` for a day without a partition; the transaction is then broken.
    """
    if not len(batch):
        return 0
    groups = _grouped(batch, series_ids)
    rows = _rows(batch, groups, cursor_id=cursor_id, after_window=after_window)
    with connection.cursor() as sql:
        try:
            execute_values(
                sql.cursor,
                _UPSERT,
                rows,
                template=f"(%s, %s, to_timestamp(%s), {', '.join(['%s'] * (len(_COLUMNS) - 3))})",
                page_size=500,
            )
        except CheckViolation as error:
            raise PartitionMissing from error
    return len(rows)


def _grouped(batch: EventBatch, series_ids: Mapping[SeriesKey, int]) -> Grouped:
    """Group by (series id, window), in that order: it is the order in which rows are locked."""
    by_index: Ints = np.array([series_ids[key] for key in batch.series_keys], np.int64)
    windows = batch.timestamps_us // (WINDOW_SECONDS * 1_000_000) * WINDOW_SECONDS
    pairs = np.stack([by_index[batch.series_index], windows], axis=1)
    distinct, index = np.unique(pairs, axis=0, return_inverse=True)
    return Grouped(index.reshape(-1), distinct[:, 0].tolist(), distinct[:, 1].tolist())


def _rows(batch: EventBatch, groups: Grouped, *, cursor_id: int, after_window: Booleans) -> list[tuple[object, ...]]:
    everything = np.ones(len(batch), np.bool_)
    columns: list[list[object]] = [
        [cursor_id] * len(groups),
        list(groups.series_ids),
        list(groups.windows_s),
        list(groups.count(everything)),
        list(groups.exact_total(batch.sample_weight, decimal_places=6)),
        list(groups.count(batch.has_errors)),
        list(groups.count(after_window)),
        list(groups.count(~np.isnan(batch.latency_ms))),
        list(groups.exact_total(batch.latency_ms, decimal_places=3)),
        list(groups.extreme(batch.latency_ms, np.minimum, np.inf)),
        list(groups.extreme(batch.latency_ms, np.maximum, -np.inf)),
        list(groups.count(~np.isnan(batch.ttft_ms))),
        list(groups.exact_total(batch.ttft_ms, decimal_places=3)),
        list(groups.count(~np.isnan(batch.total_tokens))),
        [int(value) for value in groups.total(batch.prompt_tokens)],
        [int(value) for value in groups.total(batch.completion_tokens)],
        list(groups.count(~np.isnan(batch.cost_usd))),
        list(groups.exact_total(batch.cost_usd, decimal_places=9)),
        *_sketches(batch, groups, cursor_id=cursor_id),
    ]
    return list(zip(*columns, strict=True))


def _sketches(batch: EventBatch, groups: Grouped, *, cursor_id: int) -> list[list[object]]:
    existing = _existing(groups, cursor_id=cursor_id)
    before = [existing.get(key, _NO_SKETCHES) for key in zip(groups.series_ids, groups.windows_s, strict=True)]
    columns: list[list[object]] = []
    for position, values in enumerate((batch.latency_ms, batch.ttft_ms, batch.total_tokens, batch.cost_usd)):
        kept = [sketches[position] for sketches in before]
        if np.isnan(values).all() and not any(kept):
            columns.append([None] * len(groups))
        else:
            merged = sketch.build(values, groups.index, len(groups), onto=kept)
            columns.append([value or None for value in merged])
    return columns


def _existing(groups: Grouped, *, cursor_id: int) -> dict[tuple[int, int], tuple[bytes, ...]]:
    wanted = [(cursor_id, *key) for key in zip(groups.series_ids, groups.windows_s, strict=True)]
    with connection.cursor() as sql:
        rows = execute_values(
            sql.cursor, _EXISTING, wanted, template="(%s::bigint, %s::bigint, %s::bigint)", page_size=10_000, fetch=True
        )
    return {(row[0], row[1]): tuple(bytes(value or b"") for value in row[2:]) for row in rows}
