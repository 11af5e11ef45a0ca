from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from detection.describe import MAD, MEAN, MEDIAN, Q1, Q3, STDDEV, describe
from detection.window import Window

values = arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e12, 1e12))


@given(values)
def test_statistics_equal_those_of_numpy_and_scipy(window: np.ndarray) -> None:
    row = describe([Window(window)], ordered=True)[0]
    assert row[MEAN] == np.mean(window)
    assert row[STDDEV] == np.std(window)
    close = 1e-9 * float(np.abs(window).max())
    quartiles = np.percentile(window, [25, 50, 75]).tolist()
    assert [row[Q1], row[MEDIAN], row[Q3]] == pytest.approx(quartiles, rel=1e-9, abs=close)
    assert row[MAD] == pytest.approx(scipy.stats.median_abs_deviation(window), rel=1e-9, abs=close)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 127, 128, 129, 999, 1_000])
def test_neighbours_do_not_change_a_bit(length: int) -> None:
    windows = [Window(row) for row in np.random.default_rng(length).lognormal(6.0, 2.0, (7, length))]
    together = describe(windows, ordered=True)
    alone = np.concatenate([describe([window], ordered=True) for window in windows])
    assert together.tobytes() == alone.tobytes()


def test_an_empty_window_has_no_statistics() -> None:
    assert np.isnan(describe([Window()], ordered=True)).all()


def test_what_needs_a_sorted_window_is_left_out_where_nobody_asks() -> None:
    row = describe([Window(np.arange(10.0))], ordered=False)[0]
    assert np.isnan(row[[Q1, MEDIAN, Q3, MAD]]).all()
    assert row[MEAN] == 4.5
