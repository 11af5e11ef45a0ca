from __future__ import annotations

import pytest

from detection.severity import Severity, confidence, flat_p_value, grade, times_limit


def test_severities_are_ordered_by_rank() -> None:
    assert [each.rank for each in Severity] == [0, 1, 2, 3]
    assert [str(each) for each in Severity] == ["low", "medium", "high", "critical"]


@pytest.mark.parametrize(
    ("times", "severity"),
    [(1.0, "low"), (1.49, "low"), (1.5, "medium"), (2.5, "high"), (4.9, "high"), (5.0, "critical")],
)
def test_severity_follows_how_many_times_its_limit_a_score_is(times: float, severity: str) -> None:
    assert grade(times, samples=1_000, young_samples=100) == severity


def test_a_young_series_cannot_be_critical() -> None:
    assert grade(1e6, samples=99, young_samples=100) is Severity.HIGH
    assert grade(1e6, samples=100, young_samples=100) is Severity.CRITICAL


def test_without_spread_severity_follows_the_multiple_of_the_constant() -> None:
    assert times_limit(0.02, limit=3.0, flat=True) == pytest.approx(1.02)
    assert times_limit(-30.0, limit=3.0, flat=False) == pytest.approx(10.0)


def test_confidence_grows_with_the_sample_and_falls_with_the_p_value() -> None:
    assert confidence(0.0, samples=10, min_samples=10) == 0.5
    assert confidence(0.0, samples=1_000, min_samples=10) == pytest.approx(0.990, abs=1e-3)
    assert confidence(0.2, samples=1_000, min_samples=10) < confidence(0.1, samples=1_000, min_samples=10)
    assert confidence(flat_p_value(10), samples=10, min_samples=10) < 0.5
