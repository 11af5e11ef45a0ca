"""Streams of one partition for the tests of detection, and a slow but plain reading of its rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import scipy.stats

from detection.fold import BLOCK_OFFSETS, PartitionState, Rows, SeriesKey, Shift, Verdict
from detection.profile import METRICS, Profile


@dataclass(frozen=True)
class Stream:
    """A whole log: what `Rows` has, from offset 0 to `end`."""

    offset: np.ndarray
    series: np.ndarray
    keys: list[SeriesKey]
    values: np.ndarray

    @property
    def end(self) -> int:
        return int(self.offset[-1]) + 1 if len(self.offset) else 0

    def rows(self, start: int, end: int) -> Rows:
        first, last = np.searchsorted(self.offset, [start, end])
        part = slice(first, last)
        return Rows(offset=self.offset[part], series=self.series[part], series_keys=self.keys, values=self.values[part])


def stream(n: int, *, series: int, seed: int = 0, holes: bool = True, unknown: float = 0.05) -> Stream:
    """Return n events: skewed latency with spikes and a shift, whole tokens with ties, cost that is constant for one."""
    random = np.random.default_rng(seed)
    which = np.minimum(random.geometric(0.3, n) - 1, series - 1).astype(np.int32)
    latency = np.exp(6.0 + 0.3 * which + random.normal(0.0, 0.2, n))
    latency[random.random(n) < 0.02] *= 4.0
    latency[(which == 0) & (np.arange(n) > n // 2)] *= 6.0
    tokens = np.round(random.lognormal(5.0, 0.5, n))
    cost = np.where(which == 1, 0.01, tokens * 1e-6)
    cost[random.random(n) < 0.005] *= 3.0
    values = np.stack((latency, tokens, cost), axis=1)
    values[:, 1:][random.random((n, 2)) < unknown] = np.nan
    steps = random.choice([1, 1, 1, 2, 40], n) if holes else np.ones(n, dtype=int)
    offset = np.cumsum(steps).astype(np.int64) - 1
    return Stream(
        offset=offset, series=which, keys=[(1, f"service-{i}", "model") for i in range(series)], values=values
    )


def one_series(values: Sequence[float], *, metric: str = "latency_ms") -> Stream:
    """Return a stream in which one series has these values of one metric, and unknown others."""
    table = np.full((len(values), len(METRICS)), np.nan)
    table[:, METRICS.index(metric)] = values
    return Stream(
        offset=np.arange(len(values), dtype=np.int64),
        series=np.zeros(len(values), dtype=np.int32),
        keys=[(1, "chat", "gpt-4")],
        values=table,
    )


def advance(
    log: Stream, *, cuts: Sequence[int] = (), profile: Profile | None = None, reload: bool = False
) -> tuple[PartitionState, list[Verdict], list[Shift]]:
    """Advance over the whole log, cut at these offsets; `reload`: encode and decode the state at every cut."""
    profile = profile or Profile()
    state, verdicts, shifts = PartitionState(), [], []
    edges = sorted({0, log.end, *(cut for cut in cuts if 0 < cut < log.end)})
    for start, end in pairwise(edges):
        first = int(np.searchsorted(log.offset, start))
        verdicts += [_at(v, first) for v in state.advance(log.rows(start, end), end_offset=end, profile=profile)]
        shifts += state.take_shifts()
        if reload:
            state = PartitionState.decode(state.encode_all(), next_offset=state.next_offset)
    return state, verdicts, shifts


def _at(verdict: Verdict, first: int) -> Verdict:
    fields = {name: getattr(verdict, name) for name in Verdict.__slots__}
    return Verdict(**{**fields, "row": verdict.row + first})


@dataclass
class _Plain:
    """One metric of one series, read record by record from the documents."""

    window: list[float] = field(default_factory=list)
    high: float = 0.0
    low: float = 0.0
    pending: list[float] = field(default_factory=list)
    block: int = -1


def plainly(log: Stream) -> Iterator[tuple[int, str, tuple[str, ...], dict[str, float]]]:
    """Yield (row, metric, detectors, statistics) of each anomaly, by NumPy's and SciPy's own formulas.

    The default profile, without new levels: the log must not hold a thousand values beyond a fence in a row.
    """
    known: dict[tuple[int, int], _Plain] = {}
    for row in range(len(log.offset)):
        for column, metric in enumerate(METRICS):
            x = float(log.values[row, column])
            if np.isnan(x):
                continue
            plain = known.setdefault((int(log.series[row]), column), _Plain())
            block = int(log.offset[row]) // BLOCK_OFFSETS
            if block != plain.block:
                plain.window = (plain.window + plain.pending)[-1000:]
                plain.pending, plain.block = [], block
            kept = x
            if len(plain.window) >= 10:
                window = np.array(plain.window)
                fired, kept, statistics = _judge(plain, window, x, metric)
                if fired:
                    yield row, metric, fired, statistics
            plain.pending.append(kept)


def _judge(plain: _Plain, window: np.ndarray, x: float, metric: str) -> tuple[tuple[str, ...], float, dict[str, float]]:
    mean, std = float(np.mean(window)), float(np.std(window))
    q1, median, q3 = (float(q) for q in np.percentile(window, [25, 50, 75]))
    mad = float(scipy.stats.median_abs_deviation(window))
    fences: dict[str, tuple[float, float] | None] = {}
    if _beyond(x, mean, std, abs(x - mean) > 3.0 * std):
        fences["z_score"] = _fence(mean, std, mean - 3.0 * std, mean + 3.0 * std)
    if metric != "cost_usd":
        iqr = q3 - q1
        if _beyond(x, median, iqr, x < q1 - 1.5 * iqr or x > q3 + 1.5 * iqr):
            fences["iqr"] = _fence(median, iqr, q1 - 1.5 * iqr, q3 + 1.5 * iqr)
    if metric == "latency_ms":
        if _beyond(x, median, mad, 0.6745 * abs(x - median) > 3.5 * mad):
            reach = 3.5 * mad / 0.6745
            fences["mad"] = _fence(median, mad, median - reach, median + reach)
        plain.high = max(0.0, plain.high + (x - mean) / std - 0.5)
        plain.low = max(0.0, plain.low - (x - mean) / std - 0.5)
        if plain.high > 5.0 or plain.low > 5.0:
            plain.high = plain.low = 0.0
            fences["cusum"] = None
    statistics = {"mean": mean, "stddev": std, "q1": q1, "median": median, "q3": q3, "mad": mad}
    if len(fences) < (1 if metric == "cost_usd" else 2):
        return (), x, statistics
    bands = [band for band in fences.values() if band is not None]
    if not bands:
        return tuple(fences), x, statistics
    kept = min(max(x, min(low for low, _ in bands)), max(high for _, high in bands))
    return tuple(fences), kept, statistics


def _beyond(x: float, centre: float, spread: float, outside: bool) -> bool:
    return outside if spread > 1e-12 * abs(centre) else abs(x - centre) > 0.01 * abs(centre)


def _fence(centre: float, spread: float, low: float, high: float) -> tuple[float, float] | None:
    if spread > 1e-12 * abs(centre):
        return low, high
    tolerance = 0.01 * abs(centre)
    return (centre - tolerance, centre + tolerance) if centre else None
