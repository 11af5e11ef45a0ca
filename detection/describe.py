"""Statistics of windows.

Moments of windows of equal length are reduced together, along rows, which adds in the same order as NumPy does on one
window: a result depends on the window alone, never on its neighbours, and equals np.mean and np.std to the bit.
Quantiles and MAD are looked up in a window that is kept sorted.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

import numpy as np

from detection.detectors.base import Floats
from detection.window import Window

# Columns of a row of statistics.
MEAN, STDDEV, Q1, MEDIAN, Q3, MAD = range(6)
STATISTICS = 6


def describe(windows: Sequence[Window], *, ordered: bool) -> Floats:
    """Return float64[len(windows), STATISTICS], in the metric's unit; NaN for an empty window.

    Population standard deviation (ddof 0), linear quantiles, MAD unscaled. Without `ordered` those that need a sorted
    window are NaN.
    """
    statistics = np.full((len(windows), STATISTICS), np.nan)
    for members in _by_length(windows):
        statistics[members, :Q1] = _moments([windows[i].values for i in members])
    if ordered:
        statistics[:, Q1:] = [order_statistics(window.ordered) for window in windows]
    return statistics


def _by_length(windows: Sequence[Window]) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for index, window in enumerate(windows):
        groups.setdefault(len(window), []).append(index)
    groups.pop(0, None)
    return list(groups.values())


def _moments(windows: Sequence[Floats]) -> Floats | tuple[float, float]:
    """Return mean and standard deviation of windows of one length.

    Two passes: the difference of two sums of squares would lose nearly equal values.
    """
    length = len(windows[0])
    if len(windows) == 1:
        mean = np.add.reduce(windows[0]) / length
        deviations = windows[0] - mean
        return mean, math.sqrt(np.add.reduce(deviations * deviations) / length)
    values = np.concatenate(windows).reshape(len(windows), length)
    means = np.add.reduce(values, axis=1) / length
    values -= means[:, None]
    np.multiply(values, values, out=values)
    return np.stack((means, np.sqrt(np.add.reduce(values, axis=1) / length)), axis=1)


def order_statistics(ordered: array[float]) -> tuple[float, float, float, float]:
    """Return first quartile, median, third quartile and MAD of ascending values."""
    if not ordered:
        return (math.nan,) * 4
    median = _quantile(ordered, 0.5)
    return _quantile(ordered, 0.25), median, _quantile(ordered, 0.75), _median_deviation(ordered, median)


def _quantile(ordered: array[float], q: float) -> float:
    """Return the linear (Hyndman and Fan, type 7) quantile of ascending values."""
    position = q * (len(ordered) - 1)
    below = int(position)
    low = ordered[below]
    share = position - below
    return low + (ordered[below + 1] - low) * share if share else low


def _median_deviation(ordered: array[float], median: float) -> float:
    """Return the median of |x - median| of ascending values, without sorting the deviations.

    The k values nearest to the centre lie side by side, and the farther of a stretch's ends is its largest deviation.
    Moving a stretch up, its left end comes nearer and its right end goes farther: halving finds where they cross.
    The next smallest deviation is that of the nearer neighbour of the best stretch.
    """
    length = len(ordered)
    k = (length + 1) // 2
    first, last = 0, length - k
    while first < last:
        middle = (first + last) // 2
        if median - ordered[middle] <= ordered[middle + k - 1] - median:
            last = middle
        else:
            first = middle + 1
    deviation = max(median - ordered[first], ordered[first + k - 1] - median)
    if first:
        before = max(median - ordered[first - 1], ordered[first + k - 2] - median)
        if before < deviation:
            deviation, first = before, first - 1
    if length % 2:
        return deviation
    left = median - ordered[first - 1] if first else math.inf
    right = ordered[first + k] - median if first + k < length else math.inf
    return (deviation + min(left, right)) / 2
