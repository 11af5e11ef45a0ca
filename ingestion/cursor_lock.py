"""The session lock of a cursor, which says that whoever ingests its partition is alive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import InterfaceError, OperationalError, connection

from ingestion.models import PartitionCursor

# First key of the two-key advisory locks; the second is the cursor's id.
LOCK_CLASS = 0x53454E54


@contextmanager
def holding_lock(cursor_id: int) -> Iterator[bool]:
    """Hold the cursor's session lock if it is free; yield whether it is held.

    A process that dies loses it with its connection, which is how the bridge knows.
    """
    try:
        held = _try_lock(cursor_id)
    except (OperationalError, InterfaceError):
        # Sessions that end while their worker is idle, as when PostgreSQL is restarted, are noticed only here.
        if connection.is_usable():
            raise
        connection.close()
        held = _try_lock(cursor_id)
    try:
        yield held
    finally:
        if held and connection.connection is not None and not connection.connection.closed:
            _unlock(cursor_id)


def _try_lock(cursor_id: int) -> bool:
    with connection.cursor() as sql:
        sql.execute("SELECT pg_try_advisory_lock(%s, %s)", [LOCK_CLASS, cursor_id])
        return bool(sql.fetchone()[0])


def _unlock(cursor_id: int) -> None:
    try:
        with connection.cursor() as sql:
            sql.execute("SELECT pg_advisory_unlock(%s, %s)", [LOCK_CLASS, cursor_id])
    except (OperationalError, InterfaceError):
        # The lock ends with its session. What was committed stays committed, and its next range must be sent.
        connection.close()


def held_locks() -> dict[int, datetime]:
    """Return the cursors whose lock is held, with the start of the backend that holds it."""
    with connection.cursor() as sql:
        sql.execute(
            "SELECT lock.objid::bigint, backend.backend_start FROM pg_locks lock "
            "JOIN pg_stat_activity backend USING (pid) "
            "WHERE lock.locktype = 'advisory' AND lock.classid = %s AND lock.objsubid = 2 AND lock.granted "
            "AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [LOCK_CLASS],
        )
        return dict(sql.fetchall())


# So long an ended session has to let go of its locks; until then nobody else gets at the row.
TERMINATE_MS = 1_000
_TERMINATE = f"""
    SELECT pg_terminate_backend(pid, {TERMINATE_MS}) FROM pg_stat_activity
    WHERE pid = %s AND backend_start = %s
"""
_TERMINATE_HOLDER = f"""
    SELECT pg_terminate_backend(pid, {TERMINATE_MS}) FROM pg_locks
    WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def terminate_backend(cursor: PartitionCursor) -> bool:
    """End the database session that holds the lock for too long; False when it is gone already.

    It is that of the attempt, or, where no attempt is under way, of whoever keeps the lock nevertheless. A host that is
    lost in the middle of COPY keeps its row lock past every timeout of Postgres.
    """
    with connection.cursor() as sql:
        if cursor.backend_pid is not None:
            sql.execute(_TERMINATE, [cursor.backend_pid, cursor.backend_start])
        elif not cursor.has_open_attempt:
            sql.execute(_TERMINATE_HOLDER, [LOCK_CLASS, cursor.pk])
        else:
            return False
        row = sql.fetchone()
    return bool(row and row[0])
