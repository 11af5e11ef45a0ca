"""Fit the tables of `azure` to a trace: `python -m sentinel.demo.fit TRACE.csv [TRACE.csv ...]`.

A trace is a CSV with the columns TIMESTAMP, ContextTokens, GeneratedTokens, as published in Azure/AzurePublicDataset.
Prints Python source; nothing of the trace but these quantiles enters the repository.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sentinel.demo.shape import Floats, LoadShape, TokenShape, levels

PROMPT_POINTS = 49
COMPLETION_BANDS = 8
COMPLETION_POINTS = 25
MINUTE_POINTS = 17


@dataclass(frozen=True, slots=True)
class Trace:
    """Columns of a trace: seconds since its first request, prompt tokens, completion tokens."""

    seconds: Floats
    prompt: Floats
    completion: Floats


def read_trace(path: Path) -> Trace:
    """Read a published trace; raises `KeyError` where a column is missing."""
    with path.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    times = np.array([row["TIMESTAMP"][:26].replace(" ", "T") for row in rows], "M8[us]")
    return Trace(
        seconds=(times - times[0]).astype(np.float64) / 1e6,
        prompt=np.array([float(row["ContextTokens"]) for row in rows]),
        completion=np.array([float(row["GeneratedTokens"]) for row in rows]),
    )


def fit_tokens(trace: Trace) -> TokenShape:
    """Return quantile tables of prompt tokens, and of completion tokens in each band of prompt tokens."""
    order = np.argsort(trace.prompt, kind="stable")
    bands = np.array_split(trace.completion[order], COMPLETION_BANDS)
    return TokenShape(
        prompt_quantiles=_whole(np.quantile(trace.prompt, levels(PROMPT_POINTS))),
        completion_quantiles=tuple(_whole(np.quantile(band, levels(COMPLETION_POINTS))) for band in bands),
    )


def fit_load(trace: Trace) -> LoadShape:
    """Return the minute-to-minute and second-to-second variation of the arrivals."""
    minutes = int(trace.seconds[-1] // 60)
    counts = np.bincount(trace.seconds.astype(np.intp))[: minutes * 60]
    per_second = counts.reshape(minutes, 60).astype(np.float64)
    per_minute = per_second.sum(axis=1)
    ranks = np.argsort(np.argsort(per_minute, kind="stable")).astype(np.float64)
    # Within a minute of mean m, gamma weights of shape k give Var = m + m^2 / k.
    mean = per_second.mean(axis=1)
    excess = (per_second.var(axis=1, ddof=1) - mean).sum()
    quantiles = np.quantile(per_minute, levels(MINUTE_POINTS))
    # Interpolation between the points must keep the mean rate, or a skewed table loses load.
    quantiles /= np.trapezoid(quantiles, levels(MINUTE_POINTS))
    return LoadShape(
        minute_quantiles=tuple(round(float(q), 3) for q in quantiles),
        minute_correlation=round(max(0.0, float(np.corrcoef(ranks[1:], ranks[:-1])[0, 1])), 3),
        second_shape=round(float((mean**2).sum() / max(excess, 1e-3)), 3),
    )


def _whole(values: Floats) -> tuple[int, ...]:
    return tuple(int(value) for value in np.rint(values))


def main(paths: list[str]) -> int:
    for path in paths:
        trace = read_trace(Path(path))
        print(f"# {Path(path).stem}: {len(trace.seconds)} requests")
        print(f"REQUESTS_PER_SECOND = {len(trace.seconds) / trace.seconds[-1]:.3f}")
        print(f"TOKENS = {fit_tokens(trace)}")
        print(f"LOAD = {fit_load(trace)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
