"""The roll-ups of one partition, counted again from its events in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from ingestion import sketch
from ingestion.event_batch import EventBatch, Floats
from ingestion.rollup import WINDOW_SECONDS, Booleans, Grouped


class Window(NamedTuple):
    """The key of a roll-up within its partition; the start is in seconds since 1970."""

    service: str
    model: str
    start_s: int


@dataclass(frozen=True, slots=True)
class Sums:
    """What is added up in one window, in the order of `invariants.rollups`."""

    events: int
    weight: Decimal
    errors: int
    late_events: int
    latency_count: int
    latency_sum: Decimal
    ttft_count: int
    ttft_sum: Decimal
    tokens_count: int
    prompt_tokens_sum: int
    completion_tokens_sum: int
    cost_count: int
    cost_sum: Decimal

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(mine + more for mine, more in zip(astuple(self), astuple(other), strict=True)))


Sketches = tuple[bytes, ...]
_NO_SKETCHES: Sketches = (b"", b"", b"", b"")


class Recount:
    """Adds batches of new events; `sums` and `sketches` (latency, ttft, tokens, cost) are by window."""

    def __init__(self) -> None:
        self.sums: dict[Window, Sums] = {}
        self.sketches: dict[Window, Sketches] = {}

    def add(self, batch: EventBatch, after_window: Booleans) -> None:
        """Add new events; `after_window` marks those that came after their window could be scored."""
        if not len(batch):
            return
        groups = _grouped(batch)
        windows = [
            Window(*batch.series_keys[series][1:], start)
            for series, start in zip(groups.series_ids, groups.windows_s, strict=True)
        ]
        for window, sums in zip(windows, _sums(batch, groups, after_window), strict=True):
            known = self.sums.get(window)
            self.sums[window] = sums if known is None else known + sums
        self._add_sketches(batch, groups, windows)

    def _add_sketches(self, batch: EventBatch, groups: Grouped, windows: list[Window]) -> None:
        before = [self.sketches.get(window, _NO_SKETCHES) for window in windows]
        values = (batch.latency_ms, batch.ttft_ms, batch.total_tokens, batch.cost_usd)
        columns = [
            sketch.build(column, groups.index, len(groups), onto=[kept[place] for kept in before])
            for place, column in enumerate(values)
        ]
        self.sketches.update(zip(windows, zip(*columns, strict=True), strict=True))

    def total(self) -> Mapping[Window, tuple[Sums, Sketches]]:
        """Return everything by window."""
        return {window: (sums, self.sketches[window]) for window, sums in self.sums.items()}


def _grouped(batch: EventBatch) -> Grouped:
    windows = batch.timestamps_us // (WINDOW_SECONDS * 1_000_000) * WINDOW_SECONDS
    pairs = np.stack([batch.series_index.astype(np.int64), windows], axis=1)
    distinct, index = np.unique(pairs, axis=0, return_inverse=True)
    return Grouped(index.reshape(-1), distinct[:, 0].tolist(), distinct[:, 1].tolist())


def _sums(batch: EventBatch, groups: Grouped, after_window: Booleans) -> list[Sums]:
    def known(values: Floats) -> list[int]:
        return groups.count(~np.isnan(values))

    columns = (
        groups.count(np.ones(len(batch), np.bool_)),
        groups.exact_total(batch.sample_weight, decimal_places=6),
        groups.count(batch.has_errors),
        groups.count(after_window),
        known(batch.latency_ms),
        groups.exact_total(batch.latency_ms, decimal_places=3),
        known(batch.ttft_ms),
        groups.exact_total(batch.ttft_ms, decimal_places=3),
        known(batch.total_tokens),
        [int(value) for value in groups.total(batch.prompt_tokens)],
        [int(value) for value in groups.total(batch.completion_tokens)],
        known(batch.cost_usd),
        groups.exact_total(batch.cost_usd, decimal_places=9),
    )
    return [Sums(*row) for row in zip(*columns, strict=True)]
