"""How bad an anomaly is, and how sure we are."""

from __future__ import annotations

import enum

# Severity by how many times the detector's limit the score is.
_MEDIUM, _HIGH, _CRITICAL = 1.5, 2.5, 5.0


class Severity(enum.StrEnum):
    """Ordered by rank: `Severity.LOW.rank < Severity.CRITICAL.rank` (as strings they would sort by spelling)."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for low to 3 for critical."""
        return _RANKS[self]


_RANKS = {severity: rank for rank, severity in enumerate(Severity)}


def grade(times_limit: float, *, samples: int, young_samples: int) -> Severity:
    """Grade a score that is `times_limit` times its limit; a baseline of few samples cannot carry "critical"."""
    if times_limit >= _CRITICAL and samples >= young_samples:
        return Severity.CRITICAL
    if times_limit >= _HIGH:
        return Severity.HIGH
    return Severity.MEDIUM if times_limit >= _MEDIUM else Severity.LOW


def times_limit(score: float, *, limit: float, flat: bool) -> float:
    """Return how many times its limit a score is.

    Without spread there are no sigmas to count: twice the constant counts 2, five times 5.
    """
    return 1.0 + abs(score) if flat else abs(score) / limit


def confidence(p_value: float, *, samples: int, min_samples: int) -> float:
    """Return 1 - p, shrunk towards 0 by the sample size: half of it at `min_samples`, 99 % at 1,000 with 10."""
    return (1.0 - p_value) * samples / (samples + min_samples)


def flat_p_value(samples: int) -> float:
    """Return the chance that the next value is new after `samples` equal ones (Laplace's rule of succession)."""
    return 1.0 / (samples + 2)
