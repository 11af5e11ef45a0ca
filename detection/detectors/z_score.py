"""Z-score: how many standard deviations a value is from the mean.

Parametric; for metrics that are roughly normal. Source: Shewhart, Economic Control of Quality of Manufactured
Product, 1931 (three-sigma limits). Population standard deviation (ddof 0).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from detection.detectors.base import Baseline, Floats, Ints, Scores, from_centre, normal_p_value


@dataclass(frozen=True, slots=True)
class ZScore:
    """Fires where |x - mean| / stddev > `threshold` (standard deviations)."""

    threshold: float = 3.0

    method: ClassVar[str] = "z_score"
    label: ClassVar[str] = "zscore"
    metrics: ClassVar[tuple[str, ...]] = ("latency_ms", "total_tokens", "cost_usd")
    needs_order: ClassVar[bool] = False
    memory_width: ClassVar[int] = 0

    @property
    def limit(self) -> float:
        return self.threshold

    def scaled(self, factor: float) -> Self:
        return replace(self, threshold=self.threshold * factor)

    def score(self, values: Floats, baseline: Baseline, *, series: Ints, memory: Floats) -> Scores:
        return from_centre(
            values,
            centre=baseline.mean,
            spread=baseline.stddev,
            limit=self.threshold,
        )

    def p_value(self, score: float) -> float:
        return normal_p_value(score)
