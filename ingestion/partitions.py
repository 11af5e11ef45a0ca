"""Daily partitions of `events`, `metric_rollup` and `inbox`: made ahead, dropped when every project's retention is over.

django-postgres-extra would do this, but forces composite primary keys, which the Django 5.2 admin refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max

from ingestion.clock import database_now
from ingestion.models import Project

# One maintainer at a time; a fixed number that no cursor's lock uses (those have two keys).
MAINTENANCE_LOCK = 7_305_001
DAYS_AHEAD = 3
# A day of the inbox stays for so long after its end: an append that began in it may commit later, and clocks differ.
INBOX_GRACE = timedelta(hours=1)


class PartitionMissing(Exception):
    """An event's day has no partition (any more): decide again which events are late."""


@dataclass(frozen=True, slots=True)
class PartitionedTable:
    name: str
    keeps_history: bool


TABLES = (
    PartitionedTable("events", keeps_history=True),
    PartitionedTable("metric_rollup", keeps_history=True),
    PartitionedTable("inbox", keeps_history=False),
)

_ATTACHED = """
    SELECT child.relname FROM pg_inherits
    JOIN pg_class child ON child.oid = inhrelid
    WHERE inhparent = %s::regclass AND NOT inhdetachpending
"""


def partition_name(table: str, day: date) -> str:
    return f"{table}_{day:%Y%m%d}"


def attached_days(table: str) -> list[date]:
    """Return the days that have an attached partition, in order."""
    with connection.cursor() as cursor:
        cursor.execute(_ATTACHED, [table])
        names = [row[0] for row in cursor.fetchall()]
    found = (re.fullmatch(rf"{table}_(\d{{8}})", name) for name in names)
    return sorted(date.fromisoformat(match[1]) for match in found if match)


def longest_retention_days() -> int:
    """Return the longest retention of any project, in days."""
    longest = Project.objects.aggregate(longest=Max("retention_days"))["longest"]
    return int(longest or settings.SENTINEL_RETENTION_DAYS)


@contextmanager
def _maintenance() -> Iterator[bool]:
    """Hold the maintenance lock if it is free; yield whether it is held."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [MAINTENANCE_LOCK])
        held = bool(cursor.fetchone()[0])
        try:
            yield held
        finally:
            if held:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [MAINTENANCE_LOCK])


def ensure_partitions(*, today: date | None = None) -> list[str]:
    """Create what is missing from the oldest retained day to three days ahead; return the new partitions' names."""
    today = today or database_now().date()
    created = []
    with _maintenance() as held:
        if not held:
            return []
        history = longest_retention_days()
        for table in TABLES:
            first = today - timedelta(days=history if table.keeps_history else 0)
            have = set(attached_days(table.name))
            days = [first + timedelta(days=n) for n in range((today - first).days + DAYS_AHEAD + 1)]
            created += [_create(table.name, day) for day in days if day not in have]
    return created


def _create(table: str, day: date) -> str:
    name = partition_name(table, day)
    with transaction.atomic(), connection.cursor() as cursor:
        # Attaching waits for running queries; nobody may wait behind us for longer than this.
        cursor.execute("SET LOCAL lock_timeout = '2s'")
        cursor.execute(
            f'CREATE TABLE IF NOT EXISTS "{name}" PARTITION OF "{table}" FOR VALUES FROM (%s) TO (%s)',
            [f"{day}T00:00:00Z", f"{day + timedelta(days=1)}T00:00:00Z"],
        )
    return name


def drop_expired(*, now: datetime | None = None) -> list[str]:
    """Drop days that are older than every project's retention, and consumed days of the inbox; return their names."""
    now = now or database_now()
    today = now.date()
    dropped = []
    with _maintenance() as held:
        if not held:
            return []
        oldest = today - timedelta(days=longest_retention_days())
        for table in TABLES:
            dropped += _finish_drops(table.name)
            if table.keeps_history:
                dropped += [_drop(table.name, day) for day in attached_days(table.name) if day < oldest]
        dropped += _drop_consumed_inbox((now - INBOX_GRACE).date())
    return dropped


def _drop(table: str, day: date) -> str:
    name = partition_name(table, day)
    with connection.cursor() as cursor:
        # CONCURRENTLY: readers and writers of the other days never wait.
        cursor.execute("SET lock_timeout = '2s'")
        try:
            cursor.execute(f'ALTER TABLE "{table}" DETACH PARTITION "{name}" CONCURRENTLY')
        finally:
            cursor.execute("RESET lock_timeout")
    _remove(table, name)
    return name


def _remove(table: str, name: str) -> None:
    """Drop a detached day; its rows are recorded in the same transaction."""
    with transaction.atomic(), connection.cursor() as cursor:
        if table == "events":
            cursor.execute(RECORD_EXPIRED.format(source=f'SELECT cursor_id, 1 AS records FROM "{name}"'), ["events"])
        cursor.execute(f'DROP TABLE "{name}"')


_PENDING = """
    SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
    WHERE inhparent = %s::regclass AND inhdetachpending
"""
_DETACHED = """
    SELECT relname FROM pg_class
    WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace AND relname ~ %s
    AND NOT EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = pg_class.oid)
"""


def _finish_drops(table: str) -> list[str]:
    """Finish what was begun and interrupted: by a transaction that held on for too long, or by a crash.

    A pending partition is invisible, and no other of its table can be detached before it is finished.
    """
    with connection.cursor() as cursor:
        cursor.execute(_PENDING, [table])
        for (name,) in cursor.fetchall():
            cursor.execute("SET lock_timeout = '2s'")
            try:
                cursor.execute(f'ALTER TABLE "{table}" DETACH PARTITION "{name}" FINALIZE')
            finally:
                cursor.execute("RESET lock_timeout")
        cursor.execute(_DETACHED, [rf"^{table}_\d{{8}}$"])
        names = [name for (name,) in cursor.fetchall()]
    for name in names:
        _remove(table, name)
    return names


# The audit adds what is recorded here to the rows that are there. A row may stand for several records.
RECORD_EXPIRED = """
    INSERT INTO ingestion_expiredrows AS known (cursor_id, "table", rows)
    SELECT gone.cursor_id, %s, sum(gone.records) FROM ({source}) gone GROUP BY gone.cursor_id ORDER BY gone.cursor_id
    ON CONFLICT (cursor_id, "table", removed_on) DO UPDATE SET rows = known.rows + excluded.rows
"""

_UNCONSUMED = """
    SELECT EXISTS (
        SELECT 1 FROM "{name}" record
        JOIN ingestion_inboxpartition place ON place.id = record.inbox_partition_id
        LEFT JOIN ingestion_partitioncursor position
            ON position.topic_id = place.topic_id::text AND position.partition = place.partition
        WHERE record.log_offset >= coalesce(position.next_offset, 0)
    )
"""
_ADVANCE_BEGINNING = """
    UPDATE ingestion_inboxpartition place SET begin_offset = greatest(begin_offset, gone.next)
    FROM (SELECT inbox_partition_id, max(log_offset) + 1 AS next FROM "{name}" GROUP BY 1) gone
    WHERE place.id = gone.inbox_partition_id
"""


def _drop_consumed_inbox(today: date) -> list[str]:
    dropped = []
    for day in attached_days("inbox"):
        if day >= today:
            break
        name = partition_name("inbox", day)
        with connection.cursor() as cursor:
            cursor.execute(_UNCONSUMED.format(name=name))
            if cursor.fetchone()[0]:
                break  # Later days hold later offsets.
            cursor.execute(_ADVANCE_BEGINNING.format(name=name))
        dropped.append(_drop("inbox", day))
    return dropped
