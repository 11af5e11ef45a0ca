"""The reference detectors against the batch formulas of NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from detection.describe import MAD, MEAN, MEDIAN, Q1, Q3, STDDEV, describe
from detection.detectors import cusum, iqr, mad, z_score
from detection.detectors.base import Baseline, Detector, Floats, Scores
from detection.registry import DETECTORS
from detection.window import Window

RANDOM = np.random.default_rng(0)
WINDOWS = {
    "skewed": RANDOM.lognormal(6.0, 0.5, 1_000),
    "ties": np.round(RANDOM.lognormal(3.0, 0.5, 501)),
    "nearly equal": 1e9 + RANDOM.standard_normal(1_000) * 1e-3,
    "short": RANDOM.lognormal(6.0, 0.5, 10),
    "tiny": RANDOM.lognormal(-12.0, 0.5, 999),
}
VALUES = RANDOM.lognormal(6.0, 1.5, 200)


def score(detector: Detector, window: Floats, values: Floats, memory: Floats | None = None) -> Scores:
    row = describe([Window(window)], ordered=True)[0]
    columns = {"mean": MEAN, "stddev": STDDEV, "q1": Q1, "median": MEDIAN, "q3": Q3, "mad": MAD}
    baseline = Baseline(**{name: np.full(len(values), row[column]) for name, column in columns.items()})
    memory = np.zeros((1, detector.memory_width)) if memory is None else memory
    return detector.score(values, baseline, series=np.zeros(len(values), dtype=np.intp), memory=memory)


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_z_score_is_the_population_z_score(window: Floats) -> None:
    values = np.concatenate((VALUES, window))
    scores = score(z_score.ZScore(), window, values)
    assert scores.score == pytest.approx(scipy.stats.zmap(values, window, ddof=0), rel=1e-9, abs=1e-9)
    assert scores.fired.tolist() == (np.abs(scipy.stats.zmap(values, window, ddof=0)) > 3.0).tolist()


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_iqr_fences_are_those_of_numpy_percentiles(window: Floats) -> None:
    values = np.concatenate((VALUES, window))
    q1, q3 = np.percentile(window, [25, 75])
    scores = score(iqr.IQR(), window, values)
    assert scores.lower == pytest.approx(q1 - 1.5 * scipy.stats.iqr(window), rel=1e-9)
    assert scores.upper == pytest.approx(q3 + 1.5 * scipy.stats.iqr(window), rel=1e-9)
    assert scores.fired.tolist() == ((values < scores.lower) | (values > scores.upper)).tolist()


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_mad_is_the_modified_z_score(window: Floats) -> None:
    values = np.concatenate((VALUES, window))
    expected = 0.6745 * (values - np.median(window)) / scipy.stats.median_abs_deviation(window)
    scores = score(mad.MAD(), window, values)
    assert scores.score == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert scores.fired.tolist() == (np.abs(expected) > 3.5).tolist()


def test_cusum_adds_up_standard_deviations_and_restarts_after_an_alarm() -> None:
    window = WINDOWS["skewed"]
    values = np.concatenate((RANDOM.choice(window, 50), RANDOM.choice(window, 50) * 1.5))
    high = low = 0.0
    expected = []
    for z in scipy.stats.zmap(values, window):
        high, low = max(0.0, high + z - 0.5), max(0.0, low - z - 0.5)
        expected.append(high if high >= low else -low)
        if max(high, low) > 5.0:
            high = low = 0.0
    scores = score(cusum.CUSUM(), window, values)
    assert scores.score == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert scores.fired.tolist() == (np.abs(expected) > 5.0).tolist()
    assert scores.fired.any()


def test_cusum_carries_its_sums_from_call_to_call() -> None:
    window, values = WINDOWS["skewed"], WINDOWS["skewed"][:40] * 1.2
    whole = score(cusum.CUSUM(), window, values)
    memory = np.zeros((1, 2))
    parts = [score(cusum.CUSUM(), window, part, memory) for part in np.split(values, [1, 7, 30])]
    assert np.concatenate([part.score for part in parts]).tolist() == whole.score.tolist()


def test_cusum_finds_a_fall_as_well() -> None:
    window = WINDOWS["skewed"]
    scores = score(cusum.CUSUM(), window, np.full(20, window.mean() - 1.5 * window.std()))
    assert scores.score[scores.fired].max() < -5.0


@pytest.mark.parametrize("kind", DETECTORS)
def test_without_spread_only_more_than_one_percent_is_anomalous(kind: type[Detector]) -> None:
    values = np.array([100.0, 100.9, 99.1, 101.1, 98.9, np.nan])
    scores = score(kind(), np.full(50, 100.0), values)
    assert scores.fired.tolist() == [False, False, False, True, True, False]
    assert scores.flat.all()
    assert scores.score[3] == pytest.approx(0.011)


@pytest.mark.parametrize("kind", DETECTORS)
def test_rounding_in_a_constant_window_is_no_spread(kind: type[Detector]) -> None:
    scores = score(kind(), np.full(999, 0.1), np.array([0.1, np.nextafter(0.1, 1.0)]))
    assert scores.flat.all()
    assert not scores.fired.any()


@pytest.mark.parametrize("kind", DETECTORS)
def test_any_value_but_zero_is_off_a_constant_zero(kind: type[Detector]) -> None:
    scores = score(kind(), np.zeros(50), np.array([0.0, 1e-6, 5.0]))
    assert scores.fired.tolist() == [False, True, True]
    assert np.isfinite(scores.score).all()


@pytest.mark.parametrize("kind", DETECTORS)
def test_an_unknown_value_never_fires(kind: type[Detector]) -> None:
    scores = score(kind(), WINDOWS["skewed"], np.array([np.nan, 1e9]))
    assert scores.fired.tolist() == [False, True]


@pytest.mark.parametrize("kind", DETECTORS)
def test_a_p_value_falls_as_the_score_rises(kind: type[Detector]) -> None:
    p_values = [kind().p_value(score) for score in (0.0, 1.0, -2.0, 6.0, 1e6)]
    assert p_values == sorted(p_values, reverse=True)
    assert all(0.0 <= p <= 1.0 for p in p_values)


def test_p_values_are_those_of_the_normal_distribution() -> None:
    assert z_score.ZScore().p_value(3.0) == pytest.approx(2 * scipy.stats.norm.sf(3.0), rel=1e-9)
    # Tukey's fences leave out 0.7 % of normal data.
    assert iqr.IQR().p_value(1.5) == pytest.approx(0.00698, rel=1e-2)
