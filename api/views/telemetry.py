"""GET /api/v1/telemetry"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, cast

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from api.documentation import errors, paged
from api.documentation import telemetry as doc
from api.pages import next_link
from api.queries import TelemetryQuery, TimeRange, time_range
from api.shapes import event_shape
from api.telemetry import EventPosition, newest_events
from api.views.base import ApiView


class TelemetryView(ApiView):
    """Stored events, newest first."""

    @extend_schema(
        operation_id="telemetry",
        summary="Query recent telemetry",
        description=doc.DESCRIPTION,
        parameters=[TelemetryQuery],
        responses={200: paged(doc.TelemetryPage), **errors.READ_ERRORS},
        examples=[doc.EXAMPLE],
        tags=["query"],
    )
    def get(self, request: Request) -> Response:
        """Answer one page."""
        query = TelemetryQuery.read(request)
        window, after = self._window(query)
        found = newest_events(
            self.caller.project,
            service=query.get("service"),
            model=query.get("model"),
            start=window.start,
            after=after,
            limit=query["limit"] + 1,
        )
        page = found[: query["limit"]]
        position = None
        if len(found) > len(page):
            position = (window.start, window.end, page[-1].timestamp, page[-1].event_id)
        body = {"data": [event_shape(event) for event in page], "count": len(page), "timeRange": window.shape()}
        return Response(body, headers=next_link(request, position))

    def _window(self, query: dict[str, Any]) -> tuple[TimeRange, EventPosition | None]:
        """Return the range of the first page, also on the pages after it."""
        if "cursor" in query:
            start, end, timestamp, event_id = cast(tuple[datetime, datetime, datetime, uuid.UUID], query["cursor"])
            return TimeRange(start, end), EventPosition(timestamp, event_id)
        days = self.caller.project.retention_days
        return time_range(query.get("hours"), retention_days=days, now=timezone.now()), None
