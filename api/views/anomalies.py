"""GET /api/v1/anomalies, /api/v1/anomalies/recent and /api/v1/anomalies/{id}"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from django.db.models import Q
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from api.documentation import anomalies as doc
from api.documentation import errors, paged
from api.errors import not_found
from api.pages import next_link
from api.queries import AnomaliesQuery, Query, RecentQuery, time_range
from api.shapes import anomaly_shape, event_shape
from api.views.base import ApiView
from detection.models import Anomaly
from ingestion.models import Event

# Parameter: the column that must equal it, or be one of it.
FILTERS = {
    "service": "service",
    "model": "model",
    "metric": "metric",
    "type": "anomaly_type",
    "detector": "detection_method",
    "severity": "severity__in",
}


class AnomalyList(ApiView):
    """One page of anomalies, newest first."""

    def answer(self, request: Request, query_type: type[Query]) -> Response:
        """Answer one page of what the parameters choose."""
        query = query_type.read(request)
        chosen = Q(**{column: query[name] for name, column in FILTERS.items() if name in query})
        start, after = self._window(query)
        rows = Anomaly.objects.filter(chosen, after, project=self.caller.project, timestamp__gt=start)
        found = list(rows.order_by("-timestamp", "-id")[: query["limit"] + 1])
        page = found[: query["limit"]]
        position = (start, page[-1].timestamp, page[-1].pk) if len(found) > len(page) else None
        body = {"anomalies": [anomaly_shape(anomaly) for anomaly in page], "count": len(page)}
        return Response(body, headers=next_link(request, position))

    def _window(self, query: Mapping[str, Any]) -> tuple[datetime, Q]:
        if "cursor" in query:
            start, timestamp, pk = cast(tuple[datetime, datetime, uuid.UUID], query["cursor"])
            return start, Q(timestamp__lte=timestamp) & (Q(timestamp__lt=timestamp) | Q(pk__lt=pk))
        days = self.caller.project.retention_days
        return time_range(query.get("hours"), retention_days=days, now=timezone.now()).start, Q()


class AnomaliesView(AnomalyList):
    """Anomalies by severity, time and series."""

    @extend_schema(
        operation_id="anomalies",
        summary="Query anomalies",
        description=doc.DESCRIPTION,
        parameters=[AnomaliesQuery],
        responses={200: paged(doc.AnomaliesPage), **errors.READ_ERRORS},
        examples=[doc.EXAMPLE],
        tags=["query"],
    )
    def get(self, request: Request) -> Response:
        """Answer one page."""
        return self.answer(request, AnomaliesQuery)


class RecentAnomaliesView(AnomalyList):
    """The last anomalies."""

    @extend_schema(
        operation_id="recent_anomalies",
        summary="Query recent anomalies",
        description=doc.RECENT_DESCRIPTION,
        parameters=[RecentQuery],
        responses={200: paged(doc.AnomaliesPage), **errors.READ_ERRORS},
        examples=[doc.EXAMPLE],
        tags=["query"],
    )
    def get(self, request: Request) -> Response:
        """Answer one page."""
        return self.answer(request, RecentQuery)


class AnomalyView(ApiView):
    """One anomaly and its event."""

    @extend_schema(
        operation_id="anomaly",
        summary="Get one anomaly",
        description=doc.ONE_DESCRIPTION,
        responses={
            200: doc.AnomalyWithEvent,
            **errors.AUTHENTICATION_ERRORS,
            404: errors.NOT_FOUND,
            503: errors.UNAVAILABLE,
        },
        examples=[doc.ONE_EXAMPLE],
        tags=["query"],
    )
    def get(self, _request: Request, pk: uuid.UUID) -> Response:
        """Answer it."""
        anomaly = Anomaly.objects.filter(project=self.caller.project, pk=pk).first()
        if anomaly is None:
            raise not_found("Anomaly")
        return Response(anomaly_shape(anomaly) | {"event": self._event(anomaly)})

    def _event(self, anomaly: Anomaly) -> dict[str, Any] | None:
        if anomaly.event_id is None:
            return None
        event = Event.objects.filter(
            event_id=anomaly.event_id, project=self.caller.project, timestamp=anomaly.timestamp
        ).first()
        return None if event is None else event_shape(event)
