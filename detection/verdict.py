"""What detection says: about one value, about a lasting change."""

from __future__ import annotations

from dataclasses import dataclass

from detection.severity import Severity

# (project id, service, model)
SeriesKey = tuple[int, str, str]

ABOVE, BELOW = "above", "below"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A value is anomalous. Numbers are in the metric's unit unless said otherwise; None is unknown.

    row            index into the `Rows` that were advanced over
    direction      "above" or "below" the baseline
    method         the first detector of the registry that fired; the next fields are its
    deviation      its signed score, in standard deviations (z_score, mad, cusum) or IQRs beyond a quartile (iqr)
    threshold      the |deviation| beyond which it fires
    flat           the window has no spread: deviation and threshold are shares of the constant
    lower, upper   its fence; None for cusum and around a constant zero
    detectors      all that fired, in the registry's order
    z_score        standard deviations from the mean; None without spread
    p_value        probability of so large a deviation on ordinary data
    confidence     1 - p_value, shrunk by the number of samples
    samples        values in the window that it was scored against, of at most `window_size`
    """

    row: int
    metric: str
    observed: float
    direction: str
    method: str
    deviation: float
    threshold: float
    flat: bool
    lower: float | None
    upper: float | None
    detectors: tuple[str, ...]
    mean: float
    stddev: float
    median: float
    mad: float
    q1: float
    q3: float
    z_score: float | None
    p_value: float
    confidence: float
    severity: Severity
    samples: int
    window_size: int


@dataclass(frozen=True, slots=True)
class Shift:
    """A series settled at a new level, which is its baseline from `log_offset` on. Numbers in the metric's unit."""

    series: SeriesKey
    metric: str
    log_offset: int
    samples: int
    mean_before: float
    stddev_before: float
    mean_after: float
    stddev_after: float
