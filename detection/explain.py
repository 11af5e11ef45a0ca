"""Says in one sentence what happened, from the numbers that are stored with an anomaly."""

from __future__ import annotations

from collections.abc import Sequence

from detection.detectors.base import FLAT_TOLERANCE
from detection.verdict import ABOVE, BELOW

_UNITS = {"latency_ms": "{} ms", "ttft_ms": "{} ms", "total_tokens": "{} tokens", "cost_usd": "${}"}
# Detectors whose centre is the median; the others measure from the mean.
_FROM_MEDIAN = frozenset({"iqr", "mad"})
_CHANGE_POINT = "cusum"


def explain(
    *,
    metric: str,
    observed: float,
    mean: float,
    median: float,
    direction: str,
    method: str,
    deviation: float,
    threshold: float,
    flat: bool,
    detectors: Sequence[str],
    samples: int,
) -> str:
    """Return a sentence such as

    latency_ms was 15,234 ms, 12.4x the baseline mean of 1,234 ms (z_score 59.8 over threshold 3.0; also iqr, mad;
    1,000 samples)

    The arguments are the fields of `verdict.Verdict`.
    """
    name, centre = ("median", median) if method in _FROM_MEDIAN else ("mean", mean)
    compared, expected = _compared(observed, centre, direction), with_unit(centre, metric)
    if flat:
        was = "was mostly" if method in _FROM_MEDIAN else "had always been"
        place = f"{compared} the baseline, which {was} {expected}"
    else:
        place = f"{compared} the baseline {name} of {expected}"
    if method == _CHANGE_POINT and not flat:
        place += f", after a sustained {'rise' if direction == ABOVE else 'fall'}"
    evidence = [_evidence(method, deviation, threshold, flat=flat)]
    others = [each for each in detectors if each != method]
    if others:
        evidence.append(f"also {', '.join(others)}")
    evidence.append(f"{samples:,} {'sample' if samples == 1 else 'samples'}")
    return f"{metric} was {with_unit(observed, metric)}, {place} ({'; '.join(evidence)})"


def _compared(observed: float, centre: float, direction: str) -> str:
    """Return how the observed value compares, ready to stand before "the baseline"."""
    if centre <= 0.0:
        return direction
    ratio = observed / centre
    if direction == ABOVE and ratio >= 2.0:
        return f"{ratio:,.1f}x" if ratio < 100.0 else f"{ratio:,.0f}x"
    percent = round(100.0 * abs(ratio - 1.0))
    if direction == BELOW and percent == 100 and observed > 0.0:
        return f"more than 99 % {direction}"
    return f"{percent} % {direction}" if percent else f"just {direction}"


def _evidence(method: str, deviation: float, threshold: float, *, flat: bool) -> str:
    if flat:
        return f"{method}: more than {FLAT_TOLERANCE:.0%} off a constant".replace("%", " %")
    relation, limit = ("over", threshold) if deviation > 0 else ("under", -threshold)
    return f"{method} {_figure(deviation)} {relation} threshold {_figure(limit)}"


def _figure(value: float) -> str:
    """Return a score with one decimal, or with the two that a scaled threshold such as 2.01 has."""
    one = f"{value:,.1f}"
    return one if abs(float(one.replace(",", "")) - value) < 1e-9 or abs(value) >= 10.0 else f"{value:,.2f}"


def with_unit(value: float, metric: str) -> str:
    """Return a value of `metric` for people: "15,234 ms", "$0.0012"."""
    return _UNITS.get(metric, "{}").format(_number(value))


def measured(value: float | None, metric: str) -> str:
    """Return the same of a value that may be unknown."""
    return "-" if value is None else with_unit(value, metric)


def _number(value: float) -> str:
    """Return a number with thousands separators and at least three significant digits, without trailing zeros."""
    size = abs(value)
    if size >= 100.0 or value == int(value):
        return f"{value:,.0f}"
    if size >= 1.0:
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    if size >= 1e-9:
        text = f"{value:.14f}"
        leading = len(text.split(".")[1]) - len(text.split(".")[1].lstrip("0"))
        return f"{value:.{leading + 3}f}".rstrip("0").rstrip(".")
    return f"{value:.2g}"
