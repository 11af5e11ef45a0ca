"""Newest events first, over every series of a project, without an index on time alone."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from ingestion.models import Event, Project

FIRST_SPAN = timedelta(minutes=5)
WIDENING = 12

# Each series reads its newest rows from the index (project, service, model, timestamp); PostgreSQL walks the daily
# partitions from the newest and stops when it has enough.
_KEYS = """
    SELECT candidate.timestamp, candidate.event_id
    FROM ({series}) series
    CROSS JOIN LATERAL (
        SELECT timestamp, event_id FROM events
        WHERE project_id = %(project)s AND service = series.service AND model = series.model
          AND timestamp > %(start)s{after}
        ORDER BY timestamp DESC, event_id DESC
        LIMIT %(limit)s
    ) candidate
    ORDER BY candidate.timestamp DESC, candidate.event_id DESC
    LIMIT %(limit)s
"""
# Only the few chosen events are read whole.
_WHOLE = """
SELECT event.*
FROM ({keys}) chosen
JOIN events event
  ON event.event_id = chosen.event_id AND event.project_id = %(project)s AND event.timestamp = chosen.timestamp
ORDER BY event.timestamp DESC, event.event_id DESC
"""
_COUNT = "SELECT count(*) FROM ({keys}) chosen"
_SERIES = "SELECT service, model FROM ingestion_series WHERE project_id = %(project)s"
# Named exactly, a series is found even where the project has more series than it may and this one has no row.
_ONE_SERIES = "SELECT %(service)s::text AS service, %(model)s::text AS model"
_AFTER = "\n          AND timestamp <= %(timestamp)s AND (timestamp, event_id) < (%(timestamp)s, %(event_id)s::uuid)"


@dataclass(frozen=True, slots=True)
class EventPosition:
    """The last event of a page."""

    timestamp: datetime
    event_id: uuid.UUID


def newest_events(
    project: Project,
    *,
    service: str | None,
    model: str | None,
    start: datetime,
    after: EventPosition | None,
    limit: int,
) -> Sequence[Event]:
    """Return up to `limit` events later than `start`, newest first, that follow `after` in that order."""
    keys = _KEYS.format(series=_series(service, model), after=_AFTER if after else "")
    parameters = {
        "project": project.pk,
        "service": service,
        "model": model,
        "start": start,
        "limit": limit,
        "timestamp": after and after.timestamp,
        "event_id": after and after.event_id,
    }
    if service is None or model is None:
        newest = after.timestamp if after else timezone.now()
        parameters["start"] = _late_start(keys, parameters, newest=newest, start=start, limit=limit)
    return list(Event.objects.raw(_WHOLE.format(keys=keys), parameters))


def _series(service: str | None, model: str | None) -> str:
    if service is not None and model is not None:
        return _ONE_SERIES
    if service is not None:
        return _SERIES + " AND service = %(service)s"
    if model is not None:
        return _SERIES + " AND model = %(model)s"
    return _SERIES


def _late_start(keys: str, parameters: Mapping[str, Any], *, newest: datetime, start: datetime, limit: int) -> datetime:
    """Return a time not before `start` after which there are `limit` events: older ones need not be looked at.

    Otherwise each of a project's thousands of series would read a page's worth.
    """
    with connection.cursor() as cursor:
        for later in _spans_before(newest, start):
            cursor.execute(_COUNT.format(keys=keys), {**parameters, "start": later})
            if cursor.fetchone()[0] == limit:
                return later
    return start


def _spans_before(newest: datetime, start: datetime) -> Iterator[datetime]:
    span = FIRST_SPAN
    while newest - span > start:
        yield newest - span
        span *= WIDENING
