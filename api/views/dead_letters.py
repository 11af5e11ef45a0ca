"""GET /api/v1/dead-letters and POST /api/v1/dead-letters/{id}/replay"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from django.db.models import Q
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from api.documentation import dead_letters as doc
from api.documentation import errors, paged
from api.errors import RETRY_AFTER_SECONDS, ApiError, ErrorCode, not_found
from api.models import Scope
from api.pages import next_link
from api.queries import DeadLettersQuery, TimeRange, time_range
from api.shapes import dead_letter_shape
from api.views.base import ApiView
from ingestion.models import DeadLetter
from ingestion.replay import replay
from ingestion.replay_outcome import Fate, Outcome
from ingestion.withheld import SkipReason


class DeadLettersView(ApiView):
    """Rejected records, newest first."""

    @extend_schema(
        operation_id="dead_letters",
        summary="List rejected records",
        description=doc.DESCRIPTION,
        parameters=[DeadLettersQuery],
        responses={200: paged(doc.DeadLettersPage), **errors.READ_ERRORS},
        examples=[doc.EXAMPLE],
        tags=["dead letters"],
    )
    def get(self, request: Request) -> Response:
        """Answer one page."""
        query = DeadLettersQuery.read(request)
        window, chosen = self._window(query)
        for name in ("status", "reason"):
            if name in query:
                chosen &= Q(**{name: query[name]})
        rows = DeadLetter.objects.filter(chosen, project=self.caller.project).select_related("cursor")
        found = list(rows.order_by("-created_at", "-id")[: query["limit"] + 1])
        page = found[: query["limit"]]
        position = None
        if len(found) > len(page):
            position = (window.start, page[-1].created_at, page[-1].pk)
        body = {"dead_letters": [dead_letter_shape(letter) for letter in page], "count": len(page)}
        return Response(body, headers=next_link(request, position))

    def _window(self, query: Mapping[str, Any]) -> tuple[TimeRange, Q]:
        now = timezone.now()
        if "cursor" in query:
            start, created_at, pk = cast(tuple[datetime, datetime, int], query["cursor"])
            after = Q(created_at__lt=created_at) | Q(created_at=created_at, pk__lt=pk)
            return TimeRange(start, now), Q(created_at__gt=start, created_at__lte=created_at) & after
        window = time_range(query.get("hours"), retention_days=self.caller.project.retention_days, now=now)
        return window, Q(created_at__gt=window.start)


# What another try may mend; whatever else keeps a letter from being replayed lies in the letter.
_ERRORS: Mapping[SkipReason | Fate, tuple[int, ErrorCode]] = {
    SkipReason.BEING_REPLAYED: (409, ErrorCode.BEING_REPLAYED),
    SkipReason.DATABASE_UNAVAILABLE: (503, ErrorCode.DATABASE_UNAVAILABLE),
    Fate.UNMARKED: (503, ErrorCode.DATABASE_UNAVAILABLE),
    Fate.UNCONFIRMED: (503, ErrorCode.LOG_UNAVAILABLE),
}


class ReplayView(ApiView):
    """Send a rejected record again."""

    scope = Scope.ADMIN

    @extend_schema(
        operation_id="replay_dead_letter",
        summary="Replay a rejected record",
        description=doc.REPLAY_DESCRIPTION,
        request=None,
        responses={
            200: doc.Replay,
            **errors.AUTHENTICATION_ERRORS,
            404: errors.NOT_FOUND,
            409: errors.NOT_REPLAYABLE,
            503: errors.REPLAY_UNAVAILABLE,
        },
        tags=["dead letters"],
    )
    def post(self, _request: Request, pk: int) -> Response:
        """Append the payload to its topic again."""
        letter = DeadLetter.objects.filter(project=self.caller.project, pk=pk).first()
        if letter is None:
            raise not_found("Dead letter")
        outcome = replay([letter.pk]).outcomes[letter.pk]
        if outcome.fate is not Fate.REPLAYED:
            raise _not_replayed(letter.pk, outcome)
        return Response({"replayed": 1, "skipped": 0})


def _not_replayed(pk: int, outcome: Outcome) -> ApiError:
    if outcome.reason is SkipReason.UNKNOWN:
        return not_found("Dead letter")
    status, code = _ERRORS.get(outcome.reason or outcome.fate, (409, ErrorCode.NOT_REPLAYABLE))
    if code is ErrorCode.NOT_REPLAYABLE:
        return ApiError(status, code, f"Dead letter {pk} cannot be replayed: {outcome.why}.")
    message = f"Dead letter {pk} is not marked as replayed: {outcome.why}."
    return ApiError(status, code, message, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
