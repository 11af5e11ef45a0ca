"""Newest events first, over every series of a project, without an index on time alone."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ingestion.models import Event, Project

# Each series reads its newest rows from the index (project, service, model, timestamp); PostgreSQL walks the daily
# partitions from the newest and stops when it has enough. Only then are the few chosen events read whole.
_NEWEST = """
SELECT event.*
FROM (
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
) chosen
JOIN events event
  ON event.event_id = chosen.event_id AND event.project_id = %(project)s AND event.timestamp = chosen.timestamp
ORDER BY event.timestamp DESC, event.event_id DESC
"""
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
    parameters = {
        "project": project.pk,
        "service": service,
        "model": model,
        "start": start,
        "limit": limit,
        "timestamp": after and after.timestamp,
        "event_id": after and after.event_id,
    }
    sql = _NEWEST.format(series=_series(service, model), after=_AFTER if after else "")
    return list(Event.objects.raw(sql, parameters))


def _series(service: str | None, model: str | None) -> str:
    if service is not None and model is not None:
        return _ONE_SERIES
    if service is not None:
        return _SERIES + " AND service = %(service)s"
    if model is not None:
        return _SERIES + " AND model = %(model)s"
    return _SERIES
