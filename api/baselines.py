"""Baselines as the API shows them: one per series and metric, whatever number of partitions it came through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from django.db.models import Exists, OuterRef, Q

from detection.checkpoint import summarise
from detection.models import Baseline
from detection.profile import METRICS
from detection.series import StateVersionError, decode
from ingestion.models import Project, Series

SHOWN = ("samples", "mean", "stddev", "median", "p95", "p99")
Summary = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class SeriesName:
    """A series of a project; pages are in this order."""

    service: str
    model: str


@dataclass(frozen=True, slots=True)
class BaselinePage:
    """`next_after`: the last series of the page where more follow."""

    baselines: Sequence[dict[str, Any]]
    next_after: SeriesName | None


def baselines_of(
    project: Project, *, service: str | None, model: str | None, after: SeriesName | None, limit: int
) -> BaselinePage:
    """Return the baselines of whole series, at most `limit` unless the first series alone has more."""
    shown: list[dict[str, Any]] = []
    last: SeriesName | None = None
    # Each series has at least one baseline: one series more than the limit tells whether there is a next page.
    for name, summary in _summaries(_series(project, service, model, after)[: limit + 1]):
        items = [_shape(name, metric, summary[metric]) for metric in METRICS if metric in summary]
        if last is not None and len(shown) + len(items) > limit:
            return BaselinePage(shown, last)
        shown += items
        last = name
    return BaselinePage(shown, None)


def _shape(name: SeriesName, metric: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    return {"key": f"{name.service}:{name.model}:{metric}"} | {field: summary[field] for field in SHOWN}


def _series(project: Project, service: str | None, model: str | None, after: SeriesName | None) -> Any:
    found = Series.objects.filter(Exists(Baseline.objects.filter(series=OuterRef("pk"))), project=project)
    if service is not None:
        found = found.filter(service=service)
    if model is not None:
        found = found.filter(model=model)
    if after is not None:
        found = found.filter(Q(service__gt=after.service) | Q(service=after.service, model__gt=after.model))
    return found.order_by("service", "model")


def _summaries(series: Any) -> Iterator[tuple[SeriesName, Summary]]:
    rows = list(series)
    baselines = Baseline.objects.filter(series__in=[row.pk for row in rows]).order_by("series_id", "cursor_id")
    by_series = {
        pk: [item.summary for item in group]
        for pk, group in groupby(baselines.defer("state"), key=lambda item: item.series_id)
    }
    for row in rows:
        parts = by_series.get(row.pk, [])
        summary = parts[0] if len(parts) == 1 else _merged(row.pk, parts)
        if summary:
            yield SeriesName(row.service, row.model), summary


def _merged(series_id: int, parts: Sequence[Summary]) -> Summary:
    """Join the windows of several partitions; where other code wrote one, join what the summaries say."""
    states = Baseline.objects.filter(series_id=series_id).order_by("cursor_id").values_list("state", flat=True)
    try:
        decoded = [decode(bytes(state), slot=0)[0] for state in states]
    except StateVersionError:
        return {metric: joined for metric in METRICS if (joined := join_summaries(parts, metric))}
    windows = {
        metric: np.concatenate([state.learned(column) for state in decoded]) for column, metric in enumerate(METRICS)
    }
    return summarise(windows)


def join_summaries(parts: Sequence[Summary], metric: str) -> Mapping[str, Any] | None:
    """Return count, mean and standard deviation exactly (by their moments), quantiles of the larger window."""
    known = [part[metric] for part in parts if metric in part]
    if not known:
        return None
    counts = np.array([item["samples"] for item in known], dtype=np.float64)
    means = np.array([item["mean"] for item in known])
    variances = np.array([item["stddev"] for item in known]) ** 2
    mean = float(np.average(means, weights=counts))
    variance = float(np.average(variances + (means - mean) ** 2, weights=counts))
    largest = known[int(counts.argmax())]
    return {**largest, "samples": int(counts.sum()), "mean": mean, "stddev": variance**0.5}
