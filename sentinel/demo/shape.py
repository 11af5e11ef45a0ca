"""What the traffic of a real LLM service looks like, as small tables (pure; `fit` makes them from a trace)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def levels(points: int) -> Floats:
    """Return `points` probabilities from 0 to 1, dense at both ends, so that a table keeps its tails."""
    return (1 - np.cos(np.pi * np.arange(points) / (points - 1))) / 2


@dataclass(frozen=True, slots=True)
class TokenShape:
    """The joint distribution of prompt and completion tokens.

    `prompt_quantiles` stand at `levels(len)`. `completion_quantiles` has one row per equally likely band of the
    prompt length, so that the dependence between both survives without assuming its form.
    """

    prompt_quantiles: tuple[int, ...]
    completion_quantiles: tuple[tuple[int, ...], ...]

    def sample(
        self,
        rng: np.random.Generator,
        size: int,
        *,
        prompt_band: tuple[float, float] = (0.0, 1.0),
    ) -> tuple[Floats, Floats]:
        """Return whole prompt and completion tokens; `prompt_band` keeps a range of prompt length quantiles."""
        low, high = prompt_band
        u_prompt = low + (high - low) * rng.random(size)
        u_completion = rng.random(size)
        prompt = np.interp(u_prompt, levels(len(self.prompt_quantiles)), self.prompt_quantiles)
        rows = len(self.completion_quantiles)
        band = np.minimum((u_prompt * rows).astype(np.intp), rows - 1)
        completion = np.empty(size)
        for row, quantiles in enumerate(self.completion_quantiles):
            here = band == row
            completion[here] = np.interp(u_completion[here], levels(len(quantiles)), quantiles)
        return np.rint(prompt), np.rint(completion)


@dataclass(frozen=True, slots=True)
class LoadShape:
    """How requests arrive: a rate that wanders from minute to minute, and bursts within the minute.

    `minute_quantiles` are requests per minute relative to the mean, at `levels(len)`; consecutive minutes are tied by
    a Gaussian copula with correlation `minute_correlation`. Seconds of a minute share it with gamma weights of shape
    `second_shape` (large: Poisson; small: bursts).
    """

    minute_quantiles: tuple[float, ...]
    minute_correlation: float
    second_shape: float

    def rates(self, rng: np.random.Generator, *, seconds: int, per_second: float) -> Floats:
        """Return the expected number of requests of each second."""
        minutes = math.ceil(seconds / 60)
        normal = np.empty(minutes)
        normal[0] = rng.normal()
        fresh = math.sqrt(1 - self.minute_correlation**2)
        for minute in range(1, minutes):
            normal[minute] = self.minute_correlation * normal[minute - 1] + fresh * rng.normal()
        u = np.array([0.5 * (1 + math.erf(z / math.sqrt(2))) for z in normal])
        minute_rate = np.interp(u, levels(len(self.minute_quantiles)), self.minute_quantiles)
        weights = rng.gamma(self.second_shape, 1 / self.second_shape, minutes * 60)
        return (np.repeat(minute_rate, 60) * weights * per_second)[:seconds]

    def arrivals(self, rng: np.random.Generator, *, seconds: int, per_second: float) -> Floats:
        """Return ascending arrival times in seconds, [0, seconds)."""
        counts = rng.poisson(self.rates(rng, seconds=seconds, per_second=per_second))
        times = np.repeat(np.arange(seconds, dtype=np.float64), counts)
        times += rng.random(len(times))
        times.sort()
        return times
