"""Days that the tables need a partition for and have none: their events are kept as late, and not counted.

No framework is imported: `sentinel status` has no time to wait for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from ingestion.survey import SqlCursor

# From the oldest day that is kept to tomorrow, by the database's clock. Those after it are still being made.
_QUERY = """
    WITH today AS (SELECT (now() AT TIME ZONE 'UTC')::date AS day),
    kept AS (SELECT coalesce(max(retention_days), 0) AS days FROM ingestion_project),
    wanted AS (
        SELECT name, generate_series(today.day - kept.days * history, today.day + 1, interval '1 day')::date AS day
        FROM today, kept, (VALUES ('events', 1), ('metric_rollup', 1), ('inbox', 0)) AS tables (name, history)
    )
    SELECT name, day FROM wanted WHERE NOT EXISTS (
        SELECT FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
        WHERE inhparent = wanted.name::regclass AND NOT inhdetachpending
          AND child.relname = wanted.name || to_char(wanted.day, '_YYYYMMDD')
    )
    ORDER BY name, day
"""


DAYS_NAMED = 5


@dataclass(frozen=True, slots=True)
class MissingDay:
    """A day (UTC) that a table lacks."""

    table: str
    day: date


def missing_days(sql: SqlCursor) -> Sequence[MissingDay]:
    """Return the days that lack a partition, by table and day."""
    sql.execute(_QUERY)
    return [MissingDay(table, day) for table, day in sql.fetchall()]


def describe_missing(days: Sequence[MissingDay]) -> str:
    """Return one line that says what becomes of these days' events, and names the first few."""
    number = f"{len(days)} day" + ("" if len(days) == 1 else "s")
    named = [f"{item.table} {item.day}" for item in days[:DAYS_NAMED]] + (["..."] if len(days) > DAYS_NAMED else [])
    return f"no partition for {number}, whose events are set aside as late: {', '.join(named)}"
