"""GET /metrics: the counters of every Sentinel process of this host."""

from __future__ import annotations

import os
from collections.abc import Iterator

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY, Collector

import alerting.metrics
import api.metrics
import detection.metrics
import ingestion.metrics

DECLARATIONS = (ingestion.metrics, detection.metrics, alerting.metrics, api.metrics)


class DeclaredMetrics(Collector):
    """What the host's processes counted, and without samples whatever else is declared.

    A dashboard can then be checked against `/metrics` of an installation that has not seen its first event.
    """

    def __init__(self, counted: Collector) -> None:
        self._counted = counted

    def collect(self) -> Iterator[Metric]:
        """Yield one family per metric."""
        seen = set()
        for family in self._counted.collect():
            seen.add(family.name)
            yield family
        for family in declared_families():
            if family.name not in seen:
                yield family


def declared_families() -> Iterator[Metric]:
    """Yield every metric that Sentinel declares, without samples."""
    for module in DECLARATIONS:
        for value in vars(module).values():
            if isinstance(value, MetricWrapperBase):
                yield from value.describe()


def gathered_registry() -> CollectorRegistry:
    """Return a registry over all processes of the host, or over this one where they share no folder."""
    registry = CollectorRegistry(auto_describe=False)
    shared = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    counted: Collector = MultiProcessCollector(None, shared) if shared else REGISTRY  # type: ignore[no-untyped-call]
    registry.register(DeclaredMetrics(counted))
    return registry


@require_GET
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer in Prometheus' text format, or OpenMetrics where the scraper asks for it."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(gathered_registry()), content_type=content_type)
