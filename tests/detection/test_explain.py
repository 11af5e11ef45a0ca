from __future__ import annotations

from typing import Any

import pytest

from detection.explain import explain

SPIKE: dict[str, Any] = {
    "metric": "latency_ms",
    "observed": 15_234.4,
    "mean": 1_234.0,
    "median": 1_200.0,
    "direction": "above",
    "method": "z_score",
    "deviation": 59.8,
    "threshold": 3.0,
    "flat": False,
    "detectors": ("z_score", "iqr", "mad"),
    "samples": 1_000,
}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {},
            ("latency_ms was 15,234 ms, 12.3x the baseline mean of 1,234 ms "
            "(z_score 59.8 over threshold 3.0; also iqr, mad; 1,000 samples)"),
        ),
        (
            {"observed": 12.25, "direction": "below", "deviation": -5.312, "threshold": 2.01},
            ("latency_ms was 12.25 ms, 99 % below the baseline mean of 1,234 ms "
            "(z_score -5.31 under threshold -2.01; also iqr, mad; 1,000 samples)"),
        ),
        (
            {"metric": "total_tokens", "observed": 1_950, "method": "iqr", "detectors": ["iqr", "mad"], "deviation": 2.0,
             "threshold": 1.5},
            ("total_tokens was 1,950 tokens, 62 % above the baseline median of 1,200 tokens "
            "(iqr 2.0 over threshold 1.5; also mad; 1,000 samples)"),
        ),
        (
            {"metric": "cost_usd", "observed": 0.0421, "mean": 0.0123456, "detectors": ("z_score",), "samples": 1},
            "cost_usd was $0.0421, 3.4x the baseline mean of $0.0123 (z_score 59.8 over threshold 3.0; 1 sample)",
        ),
        (
            {"observed": 1_400, "method": "cusum", "detectors": ("cusum",), "deviation": 5.66, "threshold": 5.0},
            ("latency_ms was 1,400 ms, 13 % above the baseline mean of 1,234 ms, after a sustained rise "
            "(cusum 5.66 over threshold 5.0; 1,000 samples)"),
        ),
        (
            {"metric": "cost_usd", "observed": 0.02, "mean": 0.01, "flat": True, "detectors": ("z_score",), "samples": 120},
            ("cost_usd was $0.02, 2.0x the baseline, which had always been $0.01 "
            "(z_score: more than 1 % off a constant; 120 samples)"),
        ),
        (
            {"metric": "total_tokens", "observed": 7, "mean": 0.0, "flat": True, "detectors": ("z_score",)},
            ("total_tokens was 7 tokens, above the baseline, which had always been 0 tokens "
            "(z_score: more than 1 % off a constant; 1,000 samples)"),
        ),
        (
            {"observed": 1.0, "mean": 1e6, "direction": "below", "deviation": -4.0},
            ("latency_ms was 1 ms, more than 99 % below the baseline mean of 1,000,000 ms "
            "(z_score -4.0 under threshold -3.0; also iqr, mad; 1,000 samples)"),
        ),
    ],
)  # fmt: skip
def test_the_sentence_says_what_happened(changes: dict[str, Any], sentence: str) -> None:
    assert explain(**{**SPIKE, **changes}) == sentence
