"""Interquartile range: how far a value is beyond the quartiles, in IQRs.

Non-parametric; for skewed metrics. Source: Tukey, Exploratory Data Analysis, 1977 (inner fences). Quartiles by linear
interpolation (Hyndman and Fan, type 7).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from detection.detectors.base import Baseline, Floats, Ints, Scores, fence, is_flat, normal_p_value

# For normal data the upper quartile is 0.6745 sigma above the median and the IQR is twice that.
_QUARTILE_SIGMAS = 0.6744897501960817


@dataclass(frozen=True, slots=True)
class IQR:
    """Fires below q1 - `multiplier` * IQR and above q3 + `multiplier` * IQR; the score counts IQRs beyond a quartile."""

    multiplier: float = 1.5

    method: ClassVar[str] = "iqr"
    label: ClassVar[str] = "iqr"
    metrics: ClassVar[tuple[str, ...]] = ("latency_ms", "total_tokens")
    needs_order: ClassVar[bool] = True
    memory_width: ClassVar[int] = 0

    @property
    def limit(self) -> float:
        return self.multiplier

    def scaled(self, factor: float) -> Self:
        return replace(self, multiplier=self.multiplier * factor)

    def score(self, values: Floats, baseline: Baseline, *, series: Ints, memory: Floats) -> Scores:
        spread = baseline.q3 - baseline.q1
        flat = is_flat(spread, baseline.median)
        beyond = np.maximum(values - baseline.q3, 0.0) - np.maximum(baseline.q1 - values, 0.0)
        reach = self.multiplier * spread
        return fence(
            beyond / np.where(flat, 1.0, spread),
            values=values,
            centre=baseline.median,
            flat=flat,
            limit=self.multiplier,
            lower=baseline.q1 - reach,
            upper=baseline.q3 + reach,
        )

    def p_value(self, score: float) -> float:
        return normal_p_value(_QUARTILE_SIGMAS * (1.0 + 2.0 * abs(score)))
