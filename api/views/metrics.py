"""GET /metrics: the counters of every Sentinel process of this host, and the state of the partitions."""

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
from ingestion.gauges import DatabaseGauges

DECLARATIONS = (ingestion.metrics, detection.metrics, alerting.metrics, api.metrics)


_database_gauges = DatabaseGauges()


class DeclaredMetrics(Collector):
    """What the host's processes counted and the database says, and without samples whatever else is declared.

    A dashboard can then be checked against `/metrics` of an installation that has not seen its first event.
    """

    def __init__(self, *known: Collector) -> None:
        self._known = known

    def collect(self) -> Iterator[Metric]:
        """Yield one family per metric."""
        seen = set()
        for collector in self._known:
            for family in collector.collect():
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
            elif isinstance(value, ingestion.metrics.ReadGauge):
                yield value.family()


def gathered_registry() -> CollectorRegistry:
    """Return a registry over all processes of the host, or over this one where they share no folder, and the database."""
    registry = CollectorRegistry(auto_describe=False)
    shared = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    counted: Collector = MultiProcessCollector(None, shared) if shared else REGISTRY  # type: ignore[no-untyped-call]
    registry.register(DeclaredMetrics(counted, _database_gauges))
    return registry


@require_GET
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer in Prometheus' text format, or OpenMetrics where the scraper asks for it."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(gathered_registry()), content_type=content_type)
