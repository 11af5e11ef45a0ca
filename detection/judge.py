"""Scores one block of the log: which values are anomalous, and what is learned in their place."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from detection.describe import MAD, MEAN, MEDIAN, Q1, Q3, STDDEV
from detection.detectors.base import FLAT_TOLERANCE, Baseline, Detector, Floats, Ints, Scores, is_flat
from detection.profile import METRICS, Profile
from detection.registry import memory_columns
from detection.severity import confidence, flat_p_value, grade, times_limit
from detection.verdict import ABOVE, BELOW, Verdict

# An anomaly needs that many of the metric's detectors, or all of them where there are fewer.
AGREEMENT = 2


@dataclass(frozen=True, slots=True)
class Block:
    """n rows of one block of the log, in the order of the log, of m series.

    rows       int[n], the caller's row numbers
    values     float64[n, len(METRICS)], NaN = unknown
    series     int[n], index into the next three
    samples    int[m, len(METRICS)], values in each window
    statistics float64[m, len(METRICS), describe.STATISTICS]
    memory     float64[m, len(METRICS), MEMORY_WIDTH]; updated in place
    complete   fills the order statistics of (series, metric) where no detector needed them, and returns them all
    """

    rows: Ints
    values: Floats
    series: Ints
    samples: Ints
    statistics: Floats
    memory: Floats
    complete: Callable[[int, int], list[float]]


def judge(block: Block, profile: Profile, detectors: tuple[tuple[Detector, ...], ...]) -> tuple[Floats, list[Verdict]]:
    """Return what is learned of each value (float64[n, len(METRICS)]) and the verdicts, by row and metric.

    `detectors` are those of each metric. A value is scored once its window has `min_samples`, and anomalous where
    `AGREEMENT` detectors fire. It is learned at the outermost fence among those; where only one without a fence
    fired, as it is.
    """
    learned = block.values.copy()
    verdicts: list[Verdict] = []
    for metric, watching in enumerate(detectors):
        if watching:
            fired = _score(block, metric, watching, profile.min_samples)
            anomalous = np.add.reduce([each.fired for each in fired]) >= min(AGREEMENT, len(watching))
            hits = np.flatnonzero(anomalous)
            if len(hits):
                learned[hits, metric] = _winsorised(block.values[hits, metric], fired, hits)
                verdicts += _verdicts(block, metric, watching, fired, hits, profile)
    verdicts.sort(key=lambda verdict: verdict.row)
    return learned, verdicts


def _score(block: Block, metric: int, detectors: tuple[Detector, ...], min_samples: int) -> list[Scores]:
    serving = block.samples[block.series, metric] >= min_samples
    values = np.where(serving, block.values[:, metric], np.nan)
    statistics = block.statistics[:, metric][block.series]
    baseline = Baseline(
        mean=statistics[:, MEAN],
        stddev=statistics[:, STDDEV],
        q1=statistics[:, Q1],
        median=statistics[:, MEDIAN],
        q3=statistics[:, Q3],
        mad=statistics[:, MAD],
    )
    memory = block.memory[:, metric]
    return [
        detector.score(values, baseline, series=block.series, memory=memory[:, memory_columns(detector.method)])
        for detector in detectors
    ]


def _winsorised(values: Floats, fired: list[Scores], hits: Ints) -> Floats:
    """Return the values cut to the outermost fence among the detectors that fired for each."""
    upper = np.full(len(hits), -np.inf)
    lower = np.full(len(hits), np.inf)
    for each in fired:
        counts = each.fired[hits] & ~np.isnan(each.upper[hits])
        upper = np.where(counts, np.maximum(upper, each.upper[hits]), upper)
        lower = np.where(counts, np.minimum(lower, each.lower[hits]), lower)
    fenced = upper >= lower
    return np.where(fenced, np.clip(values, np.where(fenced, lower, 0.0), np.where(fenced, upper, 0.0)), values)


def _verdicts(
    block: Block,
    metric: int,
    detectors: tuple[Detector, ...],
    fired: list[Scores],
    hits: Ints,
    profile: Profile,
) -> list[Verdict]:
    votes = np.array([each.fired[hits] for each in fired])
    return [
        verdict
        for first in range(len(detectors))
        if len(mine := hits[votes.argmax(axis=0) == first])
        for verdict in _of_primary(block, metric, detectors, fired, first, mine, profile)
    ]


def _of_primary(
    block: Block,
    metric: int,
    detectors: tuple[Detector, ...],
    fired: list[Scores],
    first: int,
    hits: Ints,
    profile: Profile,
) -> Iterator[Verdict]:
    """Yield the verdicts on `hits`, all of which the detector `first` leads."""
    primary, scores = detectors[first], fired[first]
    names = [detector.method for detector in detectors]
    columns = (
        block.rows[hits],
        block.values[hits, metric],
        block.series[hits],
        scores.score[hits],
        scores.flat[hits],
        scores.lower[hits],
        scores.upper[hits],
        _z_scores(block, metric, hits),
        np.array([each.fired[hits] for each in fired]).T,
    )
    for row, observed, series, deviation, flat, lower, upper, z_score, votes in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        samples = int(block.samples[series, metric])
        mean, stddev, q1, median, q3, mad = block.complete(series, metric)
        p_value = flat_p_value(samples) if flat else primary.p_value(deviation)
        yield Verdict(
            row=row,
            metric=METRICS[metric],
            observed=observed,
            direction=ABOVE if deviation > 0 else BELOW,
            method=primary.method,
            deviation=deviation,
            threshold=FLAT_TOLERANCE if flat else primary.limit,
            flat=flat,
            lower=_known(lower),
            upper=_known(upper),
            detectors=tuple(itertools.compress(names, votes)),
            mean=mean,
            stddev=stddev,
            median=median,
            mad=mad,
            q1=q1,
            q3=q3,
            z_score=_known(z_score),
            p_value=p_value,
            confidence=confidence(p_value, samples=samples, min_samples=profile.min_samples),
            severity=grade(
                times_limit(deviation, limit=primary.limit, flat=flat),
                samples=samples,
                young_samples=profile.young_samples,
            ),
            samples=samples,
            window_size=profile.window_size,
        )


def _z_scores(block: Block, metric: int, hits: Ints) -> Floats:
    """Return standard deviations from the mean, NaN without spread."""
    statistics = block.statistics[block.series[hits], metric]
    mean, stddev = statistics[:, MEAN], statistics[:, STDDEV]
    flat = is_flat(stddev, mean)
    z_scores: Floats = np.where(flat, np.nan, (block.values[hits, metric] - mean) / np.where(flat, 1.0, stddev))
    return z_scores


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
