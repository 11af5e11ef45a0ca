"""CUSUM: small shifts that add up.

For sustained changes that no single value gives away. Source: Page, Continuous Inspection Schemes, Biometrika 41,
1954; tail of the statistic: Siegmund, Sequential Analysis, 1985.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from detection.detectors.base import FLAT_TOLERANCE, Baseline, Floats, Ints, Scores, is_flat


@dataclass(frozen=True, slots=True)
class CUSUM:
    """S+ = max(0, S+ + z - drift), S- = max(0, S- - z - drift); fires where either exceeds `threshold`, then restarts.

    Both parameters are in standard deviations. The score is the larger sum, negative for S-. Memory: [S+, S-].
    It has no fence: what is off is the level, not the value.
    """

    threshold: float = 5.0
    drift: float = 0.5

    method: ClassVar[str] = "cusum"
    label: ClassVar[str] = "cusum"
    metrics: ClassVar[tuple[str, ...]] = ("latency_ms",)
    needs_order: ClassVar[bool] = False
    memory_width: ClassVar[int] = 2

    @property
    def limit(self) -> float:
        return self.threshold

    def scaled(self, factor: float) -> Self:
        return replace(self, threshold=self.threshold * factor)

    def score(self, values: Floats, baseline: Baseline, *, series: Ints, memory: Floats) -> Scores:
        flat = is_flat(baseline.stddev, baseline.mean)
        centred = values - baseline.mean
        z = centred / np.where(flat, 1.0, baseline.stddev)
        if flat.any():
            z = np.where(flat, _flat_z(centred, baseline.mean), z)
        score = np.array(self._accumulate(z.tolist(), series.tolist(), memory))
        fired = np.abs(score) > self.threshold
        scale = np.where(baseline.mean != 0.0, np.abs(baseline.mean), np.abs(values))
        relative = centred / np.where(scale > 0.0, scale, 1.0)
        unfenced = np.full(len(values), np.nan)
        return Scores(
            score=np.where(flat, relative, score),
            fired=fired,
            flat=flat,
            lower=unfenced,
            upper=unfenced,
        )

    def _accumulate(self, z_scores: list[float], series: list[int], memory: Floats) -> list[float]:
        # One addition after the other, never a cumulative sum of many: its rounding would depend on where it is cut.
        high, low = memory[:, 0].tolist(), memory[:, 1].tolist()
        drift, limit = self.drift, self.threshold
        scores = []
        for z, row in zip(z_scores, series, strict=True):
            if math.isnan(z):  # unknown, or no baseline yet
                scores.append(0.0)
                continue
            above, below = high[row] + z - drift, low[row] - z - drift
            above, below = max(0.0, above), max(0.0, below)
            scores.append(above if above >= below else -below)
            alarm = above > limit or below > limit
            high[row], low[row] = (0.0, 0.0) if alarm else (above, below)
        memory[:, 0], memory[:, 1] = high, low
        return scores

    def p_value(self, score: float) -> float:
        return min(1.0, math.exp(-2.0 * self.drift * abs(score)))


def _flat_z(centred: Floats, mean: Floats) -> Floats:
    """Return 0 within the tolerance around a constant and infinity, which alarms at once, beyond it."""
    beyond = np.abs(centred) > FLAT_TOLERANCE * np.abs(mean)
    return np.where(np.isnan(centred), np.nan, np.where(beyond, np.copysign(np.inf, centred), 0.0))
