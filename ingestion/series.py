"""Ids of series, made before the ingest transaction: partitions share these rows and must not wait for each other."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from weakref import ref

from django.db import connection
from psycopg2.extras import execute_values

from ingestion.event_batch import SeriesKey

MAX_CACHED = 100_000

_INSERT = """
    INSERT INTO ingestion_series (project_id, service, model, created_at) VALUES %s ON CONFLICT DO NOTHING
"""
_SELECT = """
    SELECT project_id, service, model, id FROM ingestion_series
    JOIN (VALUES %s) AS wanted (p, s, m) ON project_id = p AND service = s AND model = m
"""


class SeriesIds:
    """Looks ids up and creates what is missing; remembers them for the life of the database session.

    A crash that takes back commits, or an older backup, ends every session; an id may then be another series'.
    """

    def __init__(self) -> None:
        self._known: dict[SeriesKey, int] = {}
        self._session: ref[Any] | None = None

    def of(self, keys: Collection[SeriesKey]) -> dict[SeriesKey, int]:
        """Return the id of every key. Outside a transaction: a row without events does no harm."""
        self._forget_earlier_session()
        missing = sorted(key for key in keys if key not in self._known)
        if missing:
            if len(self._known) > MAX_CACHED:
                self._known.clear()
                missing = sorted(keys)
            self._known.update(_found_or_created(missing))
        return {key: self._known[key] for key in keys}

    def _forget_earlier_session(self) -> None:
        connection.ensure_connection()
        session = connection.connection
        if self._session is None or self._session() is not session:
            self._known.clear()
            self._session = ref(session)


def _found_or_created(keys: list[SeriesKey]) -> dict[SeriesKey, int]:
    with connection.cursor() as sql, connection.wrap_database_errors:
        found = _select(sql, keys)
        if len(found) < len(keys):
            execute_values(
                sql.cursor, _INSERT, [key for key in keys if key not in found], template="(%s, %s, %s, now())"
            )
            found = _select(sql, keys)
    return found


def _select(sql: Any, keys: list[SeriesKey]) -> dict[SeriesKey, int]:
    rows = execute_values(sql.cursor, _SELECT, keys, template="(%s::bigint, %s, %s)", fetch=True)
    return {(project_id, service, model): series_id for project_id, service, model, series_id in rows}
