from __future__ import annotations

from typing import Any

import pytest

from detection.detectors.cusum import CUSUM
from detection.detectors.z_score import ZScore
from detection.profile import METRICS, Profile, ProfileError, documented_defaults
from detection.registry import DETECTORS

DOCUMENTED: dict[str, Any] = {
    "enabled_detectors": ["zscore", "iqr", "mad", "cusum"],
    "baseline": {"window_size": 1000, "min_samples": 10},
    "zscore": {"threshold": 3.0, "sensitivity": "medium", "metrics": ["latency_ms", "total_tokens", "cost_usd"]},
    "iqr": {"multiplier": 1.5, "metrics": ["latency_ms", "total_tokens"]},
    "mad": {"threshold": 3.5, "metrics": ["latency_ms"]},
    "cusum": {"threshold": 5.0, "drift": 0.5, "metrics": ["latency_ms"]},
}


def test_the_defaults_are_the_documented_configuration() -> None:
    assert Profile.from_dict(DOCUMENTED) == Profile.from_dict({}) == Profile()


def test_each_metric_has_the_detectors_documented_for_it() -> None:
    methods = {metric: [each.method for each in Profile().watching(metric)] for metric in METRICS}
    assert methods == {
        "latency_ms": ["z_score", "iqr", "mad", "cusum"],
        "total_tokens": ["z_score", "iqr"],
        "cost_usd": ["z_score"],
    }


@pytest.mark.parametrize(("sensitivity", "threshold"), [("low", 3.99), ("medium", 3.0), ("high", 2.01)])
def test_sensitivity_scales_the_threshold(sensitivity: str, threshold: float) -> None:
    profile = Profile.from_dict({"zscore": {"sensitivity": sensitivity}})
    assert profile.watching("cost_usd")[0].limit == pytest.approx(threshold)


def test_sensitivity_leaves_the_drift_alone() -> None:
    cusum = Profile.from_dict({"cusum": {"sensitivity": "low"}}).watching("latency_ms")[-1]
    assert cusum == CUSUM(threshold=5.0 * 1.33, drift=0.5)


def test_the_enumerated_spelling_of_a_detector_is_accepted() -> None:
    profile = Profile.from_dict({"enabled_detectors": ["z_score"], "z_score": {"threshold": 4}})
    assert profile.watching("latency_ms") == (ZScore(threshold=4.0),)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"zcore": {}}, "does not know zcore"),
        ({"enabled_detectors": ["lof"]}, "'lof'; it knows zscore, iqr, mad, cusum"),
        ({"enabled_detectors": "mad"}, "must be a list"),
        ({"zscore": {"treshold": 3}}, "zscore does not know treshold"),
        ({"zscore": {"threshold": -1}}, "zscore.threshold must be a number above 0"),
        ({"zscore": {"threshold": float("nan")}}, "zscore.threshold must be a number above 0"),
        ({"iqr": {"multiplier": "1.5"}}, "iqr.multiplier must be a number"),
        ({"mad": {"sensitivity": "extreme"}}, "mad.sensitivity must be one of low, medium, high"),
        ({"mad": {"metrics": ["latency"]}}, "'latency'; it knows latency_ms"),
        ({"baseline": {"window_size": 0}}, "baseline.window_size must be a whole number"),
        ({"baseline": {"window_size": 1000.0}}, "baseline.window_size must be a whole number"),
        ({"zscore": {}, "z_score": {}}, "the same detector"),
        ({"cusum": 5.0}, "cusum must be a mapping"),
    ],
)
def test_a_wrong_configuration_says_which_key_and_what_is_allowed(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        Profile.from_dict(settings)


def test_every_detector_names_itself_once() -> None:
    names = [name for kind in DETECTORS for name in {kind.method, kind.label}]
    assert len(names) == len(set(names))


def test_the_documented_defaults_stand_for_no_setting_at_all() -> None:
    assert Profile.from_dict(documented_defaults()) == Profile()
