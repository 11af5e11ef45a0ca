"""GET /api/v1/baselines"""

from __future__ import annotations

from typing import cast

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from api.baselines import SeriesName, baselines_of
from api.documentation import baselines as doc
from api.documentation import errors, paged
from api.pages import next_link
from api.queries import BaselinesQuery
from api.views.base import ApiView


class BaselinesView(ApiView):
    """The statistics that events are compared with."""

    @extend_schema(
        operation_id="baselines",
        summary="Query baseline statistics",
        description=doc.DESCRIPTION,
        parameters=[BaselinesQuery],
        responses={200: paged(doc.BaselinesPage), **errors.READ_ERRORS},
        examples=[doc.EXAMPLE],
        tags=["query"],
    )
    def get(self, request: Request) -> Response:
        """Answer one page."""
        query = BaselinesQuery.read(request)
        after = SeriesName(*cast(tuple[str, str], query["cursor"])) if "cursor" in query else None
        page = baselines_of(
            self.caller.project,
            service=query.get("service"),
            model=query.get("model"),
            after=after,
            limit=query["limit"],
        )
        last = page.next_after
        position = (last.service, last.model) if last is not None else None
        return Response({"baselines": page.baselines}, headers=next_link(request, position))
