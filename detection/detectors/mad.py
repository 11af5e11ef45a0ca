"""Median absolute deviation: the modified z-score.

Robust: half of the window may be outliers. Source: Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from detection.detectors.base import Baseline, Floats, Ints, Scores, from_centre, normal_p_value

# The paper's constant: the MAD of normal data is 0.6745 standard deviations.
_NORMAL_MAD = 0.6745


@dataclass(frozen=True, slots=True)
class MAD:
    """Fires where 0.6745 * |x - median| / MAD > `threshold` (modified z-score, in robust standard deviations)."""

    threshold: float = 3.5

    method: ClassVar[str] = "mad"
    label: ClassVar[str] = "mad"
    metrics: ClassVar[tuple[str, ...]] = ("latency_ms",)
    needs_order: ClassVar[bool] = True
    memory_width: ClassVar[int] = 0

    @property
    def limit(self) -> float:
        return self.threshold

    def scaled(self, factor: float) -> Self:
        return replace(self, threshold=self.threshold * factor)

    def score(self, values: Floats, baseline: Baseline, *, series: Ints, memory: Floats) -> Scores:
        return from_centre(
            values,
            centre=baseline.median,
            spread=baseline.mad / _NORMAL_MAD,
            limit=self.threshold,
        )

    def p_value(self, score: float) -> float:
        return normal_p_value(score)
