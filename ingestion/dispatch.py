"""What the bridge does about a cursor, decided from its row alone (`docs/ingestion.md`, the state table)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from ingestion.cursor import BUSY
from ingestion.models import HaltReason, PartitionCursor
from ingestion.suspicion import Suspicion, after_death, is_harmless, is_striking

# With the time of the range itself, what a killed worker had not begun is ingested within five seconds.
NOT_STARTED_SECONDS = 4.0
NOT_STARTED_MAX_SECONDS = 60.0
# So long the parent of a dead worker process has to say how it ended.
DEATH_REPORT_SECONDS = 1.5


class Action(enum.StrEnum):
    """One step for one cursor."""

    NOTHING = "nothing"
    DISPATCH = "dispatch"
    TERMINATE_THEN_DISPATCH = "terminate_then_dispatch"
    SET_ASIDE = "set_aside"
    HALT = "halt"


class Because(enum.StrEnum):
    """Why; goes to the log and the metric."""

    UP_TO_DATE = "up_to_date"
    HALTED = "halted"
    CLOSED = "closed"
    NEW_RECORDS = "new_records"
    WAITING_FOR_RETRY = "waiting_for_retry"
    WAITING_FOR_WORKER = "waiting_for_worker"
    NOT_STARTED = "not_started"
    BROKER_RESTARTED = "broker_restarted"
    WORKING = "working"
    WORKS_TOO_LONG = "works_too_long"
    LOCK_KEPT = "lock_kept"
    WAITING_FOR_REPORT = "waiting_for_report"
    WAS_STOPPED = "was_stopped"
    DIED = "died"
    DIED_ON_ONE_RECORD = "died_on_one_record"


@dataclass(frozen=True, slots=True)
class Decision:
    """`suspicion` is what the cursor holds against its records from now on, None for no change.

    `SET_ASIDE` needs further conditions that the row does not show: the build has ingested something else since, and not
    set aside one record after the other. `detail` goes with the reason of a halt.
    """

    action: Action
    because: Because
    suspicion: Suspicion | None = None
    halt: HaltReason | None = None
    detail: str = ""


def decide(
    cursor: PartitionCursor,
    *,
    end_offset: int,
    lock_held: bool,
    now: datetime,
    hard_limit_seconds: float,
    lock_free_seconds: float = 0.0,
    broker_restarted: bool = False,
) -> Decision:
    """Return what to do. `now` is the database's clock; `lock_held` says whether the attempt's process lives.

    `lock_free_seconds` is for how long the lock of a started attempt has been seen free.
    """
    if cursor.closed_at is not None:
        return Decision(Action.NOTHING, Because.CLOSED)
    if cursor.halted_reason:
        return Decision(Action.NOTHING, Because.HALTED)
    if end_offset <= cursor.next_offset:
        return Decision(Action.NOTHING, Because.UP_TO_DATE)
    if not cursor.has_open_attempt:
        return _idle(cursor, now=now, hard_limit_seconds=hard_limit_seconds)
    if cursor.started_at is None:
        return _not_started(cursor, now=now, broker_restarted=broker_restarted)
    if not lock_held:
        return _died(cursor, lock_free_seconds=lock_free_seconds)
    if now - cursor.started_at > timedelta(seconds=hard_limit_seconds):
        return Decision(Action.TERMINATE_THEN_DISPATCH, Because.WORKS_TOO_LONG)
    return Decision(Action.NOTHING, Because.WORKING)


def _idle(cursor: PartitionCursor, *, now: datetime, hard_limit_seconds: float) -> Decision:
    if cursor.retry_at is not None and now < cursor.retry_at:
        return Decision(Action.NOTHING, Because.WAITING_FOR_RETRY)
    if _is_shut_out(cursor, now=now, hard_limit_seconds=hard_limit_seconds):
        return Decision(Action.TERMINATE_THEN_DISPATCH, Because.LOCK_KEPT)
    return Decision(Action.DISPATCH, Because.NEW_RECORDS)


def _is_shut_out(cursor: PartitionCursor, *, now: datetime, hard_limit_seconds: float) -> bool:
    """Tell whether workers find the lock held although the range's attempts have all ended, for longer than any takes.

    A worker that stands still, or whose host was lost, between its commit and its unlock, or before its start, is no
    attempt of this range any more.
    """
    if cursor.last_error != BUSY or cursor.range_since is None:
        return False
    return now - cursor.range_since > timedelta(seconds=hard_limit_seconds)


def _not_started(cursor: PartitionCursor, *, now: datetime, broker_restarted: bool) -> Decision:
    if broker_restarted:
        return Decision(Action.DISPATCH, Because.BROKER_RESTARTED)
    patience = min(NOT_STARTED_SECONDS * 2 ** max(cursor.unstarted - 1, 0), NOT_STARTED_MAX_SECONDS)
    assert cursor.dispatched_at is not None
    if now - cursor.dispatched_at < timedelta(seconds=patience):
        return Decision(Action.NOTHING, Because.WAITING_FOR_WORKER)
    return Decision(Action.DISPATCH, Because.NOT_STARTED)


def _died(cursor: PartitionCursor, *, lock_free_seconds: float) -> Decision:
    if cursor.death_signal is None and lock_free_seconds < DEATH_REPORT_SECONDS:
        return Decision(Action.NOTHING, Because.WAITING_FOR_REPORT)
    if is_harmless(cursor):
        return Decision(Action.DISPATCH, Because.WAS_STOPPED)
    suspicion = after_death(cursor)
    if suspicion.is_hopeless:
        return Decision(Action.HALT, Because.DIED_ON_ONE_RECORD, suspicion, HaltReason.UNEXPLAINED_DEATHS)
    # What was seen before says nothing about this death.
    if suspicion.may_set_aside and is_striking(cursor):
        if cursor.condemned_offset == cursor.next_offset and suspicion.kills_unread:
            return Decision(Action.HALT, Because.DIED_ON_ONE_RECORD, suspicion, HaltReason.POISONED_BUILD)
        return Decision(Action.SET_ASIDE, Because.DIED_ON_ONE_RECORD, suspicion)
    return Decision(Action.DISPATCH, Because.DIED, suspicion)
