"""Moving a `PartitionCursor`: compare-and-set on (`next_offset`, `attempt`).

Dispatchers and workers may act twice, late or at the same time; only one of them wins each statement here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from weakref import WeakValueDictionary

import structlog
from django.db import connection

from ingestion.condition import runbook_of_halt
from ingestion.deaths import worker_name
from ingestion.known_projects import known_project
from ingestion.models import HaltReason, PartitionCursor
from ingestion.models.cursor import Phase
from ingestion.suspicion import Suspicion, describe_death, range_end

logger = structlog.get_logger(__name__)

# `last_error` of an attempt that found the lock held.
BUSY = "busy"
BUSY_RETRY_SECONDS = 1.0
# What `last_error` begins with where a stage broke on a record, and nothing has shown yet that it is not the build.
UNPROVEN = "unproven"
# And where a person has decided that the record at the cursor is set aside.
SET_ASIDE_BY = "set aside by"
FAILURE_RETRY_SECONDS = 0.25
# What was away may be back: ingestion goes on within five seconds.
FAILURE_RETRY_MAX_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A range of a cursor and the attempt that may ingest it: what a Celery task carries.

    `is_behind` says that the log has more than the range: others, which keep up, may go first.
    """

    cursor_id: int
    start: int
    end: int
    attempt: int
    is_behind: bool = False


_DISPATCH = """
    UPDATE ingestion_partitioncursor
    SET attempt = attempt + 1, dispatched_end = %(end)s, dispatched_at = now(), started_at = NULL, phase = '',
        range_since = coalesce(range_since, now()), retry_at = NULL, dispatches = dispatches + 1,
        unstarted = CASE WHEN ended_attempt < attempt THEN unstarted + 1 ELSE 1 END,
        backend_pid = NULL, backend_start = NULL, death_signal = NULL,
        log_end = greatest(log_end, %(end)s), log_end_at = now(),
        suspect_end = %(suspect_end)s, strikes = %(strikes)s, lone_strikes = %(lone_strikes)s,
        lone_doubts = %(lone_doubts)s, lone_deaths = %(lone_deaths)s, suspected_build = %(build)s,
        suspected_at = CASE WHEN %(suspect_end)s IS NULL THEN NULL ELSE coalesce(suspected_at, now()) END,
        condemned_offset = CASE WHEN %(condemn)s THEN next_offset
            WHEN suspected_build NOT IN ('', %(build)s) THEN NULL ELSE condemned_offset END,
        last_error = coalesce(%(death)s, last_error)
    WHERE id = (
        SELECT id FROM ingestion_partitioncursor
        WHERE id = %(id)s AND next_offset = %(next_offset)s AND attempt = %(attempt)s
          AND ended_attempt = %(ended_attempt)s AND halted_reason = '' AND closed_at IS NULL
        FOR UPDATE SKIP LOCKED
    )
    RETURNING attempt
"""


def dispatch(
    cursor: PartitionCursor,
    *,
    end: int,
    suspicion: Suspicion | None = None,
    condemn: bool = False,
    is_behind: bool = False,
) -> Dispatch | None:
    """Mark the next attempt on [next_offset, end); None when somebody else moved the cursor or holds its row.

    `suspicion` replaces what the cursor holds against its records; `condemn` has the one record at `next_offset` set
    aside unread, by the build that it is held against.
    """
    held = asdict(suspicion or Suspicion.of(cursor))
    has_died = suspicion is not None and suspicion != Suspicion.of(cursor)
    death = f"killed: {describe_death(cursor)}" if has_died else None
    with connection.cursor() as sql:
        sql.execute(_DISPATCH, {**held, **_seen(cursor), "end": end, "condemn": condemn, "death": death})
        row = sql.fetchone()
    return Dispatch(cursor.pk, cursor.next_offset, end, row[0], is_behind) if row else None


def _seen(cursor: PartitionCursor) -> dict[str, int]:
    """Return what a compare-and-set compares: the attempt as the caller has seen it."""
    return {
        "id": cursor.pk,
        "next_offset": cursor.next_offset,
        "attempt": cursor.attempt,
        "ended_attempt": cursor.ended_attempt,
    }


# The view is slow where there are many connections, and a connection's start never changes: it is kept in the session.
_REMEMBER_START = """
    SELECT set_config('sentinel.backend_start', backend_start::text, false) FROM pg_stat_activity
    WHERE pid = pg_backend_pid()
"""
_START = """
    UPDATE ingestion_partitioncursor
    SET started_at = now(), unstarted = 0, phase = 'read', worker = %s, build = %s, death_signal = NULL,
        backend_pid = pg_backend_pid(), backend_start = nullif(current_setting('sentinel.backend_start', true), '')::timestamptz
    WHERE id = %s AND attempt = %s AND ended_attempt < attempt AND next_offset = %s AND halted_reason = ''
      AND closed_at IS NULL
    RETURNING *
"""


def start_attempt(task: Dispatch, *, build: str = "") -> PartitionCursor | None:
    """Mark the attempt as started by this process and return its cursor; None when it was given up or overtaken."""
    _remember_backend_start()
    parameters = [worker_name(), build, task.cursor_id, task.attempt, task.start]
    for cursor in PartitionCursor.objects.raw(_START, parameters):
        cursor.project = known_project(cursor.project_id)
        return cursor
    return None


def _remember_backend_start() -> None:
    connection.ensure_connection()
    raw = connection.connection
    if _remembered.get("connection") is not raw:
        with connection.cursor() as sql:
            sql.execute(_REMEMBER_START)
        _remembered["connection"] = raw


# The connection whose start this process has kept; weak, so that a closed one can go.
_remembered: WeakValueDictionary[str, Any] = WeakValueDictionary()


def mark_phase(task: Dispatch, phase: Phase) -> None:
    """Say what the attempt does now. Lost in a crash of Postgres, which is fine: it is a hint for people."""
    with connection.cursor() as sql:
        sql.execute(
            "BEGIN; SET LOCAL synchronous_commit = off; "
            "UPDATE ingestion_partitioncursor SET phase = %s WHERE id = %s AND attempt = %s; COMMIT",
            [phase.value, task.cursor_id, task.attempt],
        )


def end_attempt(
    task: Dispatch,
    *,
    error: str = "",
    retry_seconds: float | None = None,
    was_sent: bool = True,
    is_unproven: bool = False,
) -> None:
    """Record that the attempt ended without committing, by any path but death.

    The next dispatch waits for `retry_seconds`, by default doubling with every dispatch of the same range; one that
    was not sent is none. From the first attempt on that `is_unproven` the range counts anew (`range_since`): what others
    stored before it broke proves nothing.
    """
    with connection.cursor() as sql:
        sql.execute(
            "UPDATE ingestion_partitioncursor SET ended_attempt = %s, last_error = left(%s, 300), "
            "retry_at = now() + make_interval(secs => coalesce(%s, least(%s * 2 ^ least(dispatches - 1, 16), %s))), "
            "dispatches = greatest(dispatches - %s, 0), "
            "range_since = CASE WHEN %s AND NOT starts_with(last_error, %s) THEN now() ELSE range_since END "
            "WHERE id = %s AND attempt = %s",
            [
                task.attempt,
                error,
                retry_seconds,
                FAILURE_RETRY_SECONDS,
                FAILURE_RETRY_MAX_SECONDS,
                0 if was_sent else 1,
                is_unproven,
                UNPROVEN,
                task.cursor_id,
                task.attempt,
            ],
        )


_HALT = """
    UPDATE ingestion_partitioncursor
    SET halted_because = %s, halted_reason = left(%s, 300), halted_at = now(), ended_attempt = attempt
    WHERE id = %s AND next_offset = %s AND attempt = %s AND halted_reason = '' AND closed_at IS NULL
"""


def halt(task: Dispatch, *, because: HaltReason, reason: str) -> bool:
    """Stop the partition until a person has looked; False when this attempt is no longer the current one."""
    with connection.cursor() as sql:
        sql.execute(_HALT, [because.value, reason, task.cursor_id, task.start, task.attempt])
        done = bool(sql.rowcount)
    if done:
        logger.error(
            "partition.halted", cursor=task.cursor_id, offset=task.start, because=because, why=reason,
            runbook=runbook_of_halt(because).path,
        )  # fmt: skip
    return done


def current_attempt(cursor: PartitionCursor) -> Dispatch:
    """Return the attempt that the row names, to halt it from outside."""
    return Dispatch(cursor.pk, cursor.next_offset, cursor.dispatched_end or cursor.next_offset, cursor.attempt)


_LOCK_ROW = """
    SELECT next_offset, halted_reason, stage_batches, watermark, suspect_end, strikes, now()
    FROM ingestion_partitioncursor WHERE id = %s FOR UPDATE NOWAIT
"""


@dataclass(frozen=True, slots=True)
class Position:
    """The cursor as it stands inside the ingest transaction, its row locked; `now` is the database's clock."""

    next_offset: int
    halted_reason: str
    stage_batches: int
    watermark: datetime | None
    suspect_end: int | None
    strikes: int
    now: datetime


def lock_position(cursor_id: int) -> Position:
    """Lock the cursor's row for this transaction; raises `OperationalError` (55P03) when somebody else holds it."""
    with connection.cursor() as sql:
        sql.execute(_LOCK_ROW, [cursor_id])
        return Position(*sql.fetchone())


# A suspicion stays while some of its range is left; what was held against one record goes with it.
_ADVANCE = """
    UPDATE ingestion_partitioncursor
    SET next_offset = %(next_offset)s, ended_attempt = attempt, retry_at = NULL,
        last_error = '', phase = '', progressed_at = now(), stage_batches = %(stage_batches)s,
        watermark = %(watermark)s, started_at = NULL, backend_pid = NULL, backend_start = NULL, death_signal = NULL,
        suspect_end = %(suspect_end)s, strikes = %(strikes)s, lone_strikes = 0, lone_doubts = 0,
        lone_deaths = 0,
        suspected_at = CASE WHEN %(suspect_end)s IS NULL THEN NULL ELSE suspected_at END,
        suspected_build = CASE WHEN %(suspect_end)s IS NULL THEN '' ELSE suspected_build END,
        spared_at = CASE WHEN ingestion_partitioncursor.strikes > 0 AND condemned_offset IS NULL AND %(suspect_end)s IS NULL
            THEN now() ELSE spared_at END,
        condemned_offset = NULL, log_end = %(end_offset)s, log_end_at = now(),
        attempt = attempt + %(hand_over)s, dispatches = %(hand_over)s, unstarted = %(hand_over)s,
        dispatched_end = CASE WHEN %(hand_over)s = 1 THEN %(dispatched_end)s ELSE dispatched_end END,
        dispatched_at = CASE WHEN %(hand_over)s = 1 THEN now() ELSE dispatched_at END,
        range_since = CASE WHEN %(hand_over)s = 1 THEN now() END
    WHERE id = %(cursor_id)s
    RETURNING attempt
"""


def advance(
    task: Dispatch,
    *,
    next_offset: int,
    end_offset: int,
    batch_records: int,
    stage_batches: int,
    watermark: datetime | None,
    suspect_end: int | None = None,
    strikes: int = 0,
) -> Dispatch | None:
    """Move the cursor inside the ingest transaction and mark the next attempt if the log has more.

    `suspect_end` and `strikes` are the suspicion as it stood. Returns the range to send once the transaction has
    committed.
    """
    suspicion = (
        Suspicion(suspect_end, strikes) if suspect_end is not None and suspect_end > next_offset else Suspicion()
    )
    dispatched_end = range_end(
        next_offset=next_offset, log_end=end_offset, batch_records=batch_records, suspicion=suspicion
    )
    hand_over = 1 if dispatched_end > next_offset else 0
    with connection.cursor() as sql:
        sql.execute(
            _ADVANCE,
            {
                "next_offset": next_offset,
                "end_offset": max(end_offset, next_offset),
                "hand_over": hand_over,
                "dispatched_end": dispatched_end,
                "stage_batches": stage_batches,
                "watermark": watermark,
                "suspect_end": suspicion.suspect_end,
                "strikes": suspicion.strikes,
                "cursor_id": task.cursor_id,
            },
        )
        attempt = sql.fetchone()[0]
    is_behind = dispatched_end < end_offset
    return Dispatch(task.cursor_id, next_offset, dispatched_end, attempt, is_behind) if hand_over else None


_REMEMBER_ENDS = """
    UPDATE ingestion_partitioncursor
    SET log_end = CASE WHEN ended_attempt < attempt THEN greatest(ingestion_partitioncursor.log_end, seen.log_end)
                       ELSE seen.log_end END,
        log_end_at = now()
    FROM unnest(%s::bigint[], %s::bigint[]) AS seen (id, log_end)
    WHERE ingestion_partitioncursor.id IN (
        SELECT id FROM ingestion_partitioncursor
        WHERE id = ANY(%s)
          AND (started_at IS NULL OR ended_attempt >= attempt OR started_at < now() - interval '5 s')
        ORDER BY id FOR UPDATE SKIP LOCKED
    ) AND ingestion_partitioncursor.id = seen.id
"""


def remember_ends(ends: Mapping[int, int]) -> None:
    """Keep the ends of the log as seen now, by cursor id.

    Rows that somebody works on are left out, unless for long: a worker does not wait for a row lock, it gives up.
    """
    if not ends:
        return
    ids = list(ends)
    with connection.cursor() as sql:
        sql.execute(_REMEMBER_ENDS, [ids, list(ends.values()), ids])
