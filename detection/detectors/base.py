"""What every per-event detector looks like, and the arithmetic they share.

A detector is a frozen dataclass whose fields are its parameters. It scores many rows at once against the statistics
of each row's window; it learns nothing itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]

# A window without spread says nothing about sigmas: a value is anomalous if it differs from the constant by more.
FLAT_TOLERANCE = 0.01
# A spread below this share of the centre is rounding, not spread (about 45 units in the last place).
_ROUNDING = 1e-14


@dataclass(frozen=True, slots=True)
class Baseline:
    """Statistics of the window that each of n rows is scored against; float64[n] each, in the metric's unit.

    The last four are NaN unless a detector of the metric says `needs_order`.
    """

    mean: Floats
    stddev: Floats
    q1: Floats
    median: Floats
    q3: Floats
    mad: Floats


@dataclass(frozen=True, slots=True)
class Scores:
    """What one detector says about n rows.

    score  float64[n], signed: how far the value is off, in the detector's unit; where `flat`, relative to the constant
    fired  bool[n]
    flat   bool[n]: the window has no spread, the score is a relative deviation and `FLAT_TOLERANCE` the threshold
    lower, upper  float64[n], the fence: values inside are not anomalous; NaN where there is none
    """

    score: Floats
    fired: Bools
    flat: Bools
    lower: Floats
    upper: Floats


class Detector(Protocol):
    """Scores values against a baseline. Called once per metric and block of the log by `detection.judge`."""

    method: ClassVar[str]  # value of `detection_method`
    label: ClassVar[str]  # documented spelling in configuration and API answers
    metrics: ClassVar[tuple[str, ...]]  # documented for it
    needs_order: ClassVar[bool]  # quartiles, median, MAD: the window is kept sorted
    memory_width: ClassVar[int]  # numbers it carries from one value of a series to the next

    @property
    def limit(self) -> float:
        """The |score| beyond which it fires."""

    def scaled(self, factor: float) -> Self:
        """Return the same detector with its limit multiplied by `factor`."""

    def score(self, values: Floats, baseline: Baseline, *, series: Ints, memory: Floats) -> Scores:
        """Score `values` (float64[n], finite or NaN; a NaN never fires).

        `series` (int[n]) says which row of `memory` (float64[series, memory_width]) belongs to each value; values of
        one series come in the order of the log. Updates `memory` in place. May not block or raise.
        """

    def p_value(self, score: float) -> float:
        """Return the probability of so large a |score| on ordinary data (0 to 1)."""


def normal_p_value(z: float) -> float:
    """Return the two-sided tail probability of a standard normal beyond |z|."""
    return math.erfc(abs(z) / math.sqrt(2.0))


def is_flat(spread: Floats, centre: Floats) -> Bools:
    """Return where the spread is zero but for rounding."""
    flat: Bools = spread <= _ROUNDING * np.abs(centre)
    return flat


def fence(
    score: Floats,
    *,
    values: Floats,
    centre: Floats,
    flat: Bools,
    limit: float,
    lower: Floats,
    upper: Floats,
) -> Scores:
    """Turn scores into `Scores`: beyond `limit` where there is spread, by relative deviation where there is none."""
    if not flat.any():
        return Scores(score=score, fired=np.abs(score) > limit, flat=flat, lower=lower, upper=upper)
    # Around a constant zero nothing says how far a value may go: any other is anomalous, and there is no fence to cut
    # it to, so that a series that was free or idle can learn to be otherwise.
    scale = np.where(centre != 0.0, np.abs(centre), np.abs(values))
    relative = (values - centre) / np.where(scale > 0.0, scale, 1.0)
    tolerance = FLAT_TOLERANCE * np.abs(centre)
    reach = np.where(tolerance > 0.0, tolerance, np.nan)
    return Scores(
        score=np.where(flat, relative, score),
        fired=np.where(flat, np.abs(values - centre) > tolerance, np.abs(score) > limit),
        flat=flat,
        lower=np.where(flat, centre - reach, lower),
        upper=np.where(flat, centre + reach, upper),
    )


def from_centre(values: Floats, *, centre: Floats, spread: Floats, limit: float) -> Scores:
    """Score by distance from a centre in units of a spread; the fence is `limit` spreads away on either side."""
    flat = is_flat(spread, centre)
    score = (values - centre) / np.where(flat, 1.0, spread)
    reach = limit * spread
    return fence(
        score,
        values=values,
        centre=centre,
        flat=flat,
        limit=limit,
        lower=centre - reach,
        upper=centre + reach,
    )
