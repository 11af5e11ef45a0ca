"""What people are told of a partition: its state, since when, why, and which runbook helps.

A pure function of the cursor's row, so that `sentinel status`, the admin, the metrics and the alarm say the same. No
framework is imported: `sentinel status` has no time to wait for one.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

# Without progress for so long while the log has more, a partition is stuck.
STALLED_SECONDS = 60.0
# Bridges look at the ends of the log every two seconds.
UNSEEN_SECONDS = 20.0
# A task is taken within this time where a worker is free.
TAKEN_SECONDS = 5.0
# Ten batches of the default size: behind, even if it moves.
LAGGING_RECORDS = 30_000
STRIKES_TO_SET_ASIDE = 3


class State(enum.StrEnum):
    """How a partition does, from fine to worst."""

    IDLE = "idle"
    WORKING = "working"
    LAGGING = "lagging"
    WAITING_FOR_WORKER = "waiting_for_worker"
    RETRYING = "retrying"
    SUSPECTED = "suspected"
    STUCK = "stuck"
    HALTED = "halted"
    CLOSED = "closed"


class Runbook(enum.StrEnum):
    """The pages of `docs/runbooks/`, by file name without its ending."""

    NONE = ""
    INDEX = "README"
    LOG_REPLACED = "log-replaced"
    OTHER_CLUSTER = "other-cluster"
    BEYOND_END = "beyond-end"
    POISONED_BUILD = "poisoned-build"
    UNEXPLAINED_DEATHS = "unexplained-deaths"
    BAD_DEPLOY = "bad-deploy"
    EVENTS_MISSING = "events-missing"
    CONFIG_MISSING = "config-missing"
    PARTITION_STALLED = "partition-stalled"
    PARTITION_CLOSED = "partition-closed"
    RECORD_KILLS_WORKER = "record-kills-worker"
    WAITING_FOR_WORKERS = "waiting-for-workers"
    LOG_UNSEEN = "log-unseen"
    GAP = "gap"
    TRANSACTION_OPEN = "transaction-open"
    DEAD_LETTERS_OVER_QUOTA = "dead-letters-over-quota"
    DAY_MISSING = "day-missing"
    SERIES_SCATTERED = "series-scattered"
    KAFKA_AWAY = "kafka-away"
    POSTGRES_AWAY = "postgres-away"
    REDIS_AWAY = "redis-away"

    @property
    def path(self) -> str:
        """Where the page lies in the repository; empty where none is needed."""
        return f"docs/runbooks/{self}.md" if self else ""


def runbook_of_halt(because: str) -> Runbook:
    """Return the page of a `HaltReason`; the index where a partition halted before reasons had names."""
    return Runbook(because.replace("_", "-")) if because else Runbook.INDEX


FINE = frozenset({State.IDLE, State.WORKING, State.CLOSED})
# Ingestion does not go on by itself, or has not for a minute.
ALARMING = frozenset({State.STUCK, State.HALTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorRow:
    """What is read of a `PartitionCursor`; the names are those of its columns."""

    id: int
    project_id: int
    cluster_id: str
    topic: str
    partition: int
    next_offset: int
    attempt: int
    ended_attempt: int
    dispatches: int
    dispatched_at: datetime | None
    range_since: datetime | None
    started_at: datetime | None
    phase: str
    retry_at: datetime | None
    last_error: str
    suspect_end: int | None
    suspected_at: datetime | None
    strikes: int
    lone_strikes: int
    lone_deaths: int
    condemned_offset: int | None
    halted_because: str
    halted_reason: str
    halted_at: datetime | None
    closed_at: datetime | None
    log_end: int
    log_end_at: datetime | None
    held_up_since: datetime | None
    held_up_offset: int | None
    held_up_end: int | None
    progressed_at: datetime
    created_at: datetime

    @classmethod
    def of(cls, cursor: object) -> CursorRow:
        """Return the row of a model instance."""
        return cls(**{name: getattr(cursor, name) for name in COLUMNS})


COLUMNS = tuple(field.name for field in fields(CursorRow))


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How one partition does. `lag` is in records, as of `lag_at`; None is never.

    `stalled_seconds`: for how long nothing was committed although the log has more. `unseen_seconds`: for how long
    nobody has seen the end of the log; 0 where it is not in use. `held_up_seconds`: for how long a producer's open
    transaction has hidden records, which count as lag.
    """

    cursor_id: int
    project_id: int
    topic: str
    partition: int
    next_offset: int
    state: State
    lag: int
    lag_at: datetime | None
    since: datetime
    stalled_seconds: float
    unseen_seconds: float
    held_up_seconds: float
    why: str
    halted_because: str
    strikes: int
    runbook: Runbook

    @property
    def name(self) -> str:
        """Topic and partition, such as llm.telemetry[2]."""
        return f"{self.topic}[{self.partition}]"

    @property
    def is_fine(self) -> bool:
        """Tell whether there is nothing to look at."""
        return self.state in FINE

    @property
    def is_alarming(self) -> bool:
        """Tell whether somebody must look."""
        return self.state in ALARMING


@dataclass(frozen=True, slots=True)
class _Finding:
    state: State
    since: datetime
    why: str
    runbook: Runbook = Runbook.NONE


def condition_of(cursor: CursorRow, *, now: datetime, in_use: bool = True) -> Condition:
    """Return how the partition does at `now`, by the database's clock.

    `in_use` is false where its topic is read from another log now, such as Kafka instead of PostgreSQL.
    """
    lag = 0 if cursor.closed_at else max(cursor.log_end - cursor.next_offset, 0)
    finding = (
        _resting(cursor)
        or (_unseen(cursor, now=now) if in_use else _left_behind(cursor, lag=lag))
        or (_held_up(cursor) if not lag else None)
        or _moving(cursor, lag=lag, now=now)
    )
    held_up_seconds = _held_up_seconds(cursor, now=now)
    return Condition(
        cursor_id=cursor.id,
        project_id=cursor.project_id,
        topic=cursor.topic,
        partition=cursor.partition,
        next_offset=cursor.next_offset,
        state=finding.state,
        lag=max(lag, (cursor.held_up_end or 0) - cursor.next_offset) if held_up_seconds else lag,
        lag_at=cursor.log_end_at,
        since=finding.since,
        stalled_seconds=_stalled_seconds(cursor, now=now) if lag else held_up_seconds,
        unseen_seconds=max((now - _seen_at(cursor)).total_seconds(), 0.0) if in_use and not cursor.closed_at else 0.0,
        held_up_seconds=held_up_seconds,
        why=finding.why,
        halted_because=cursor.halted_because,
        strikes=cursor.strikes,
        runbook=finding.runbook,
    )


def _resting(cursor: CursorRow) -> _Finding | None:
    """Return what holds whatever the log does."""
    if cursor.closed_at:
        why = "the log no longer has it; what was lost of it is a gap"
        return _Finding(State.CLOSED, cursor.closed_at, why, Runbook.PARTITION_CLOSED)
    if cursor.halted_reason:
        runbook = runbook_of_halt(cursor.halted_because)
        return _Finding(State.HALTED, cursor.halted_at or cursor.progressed_at, cursor.halted_reason, runbook)
    return None


def _unseen(cursor: CursorRow, *, now: datetime) -> _Finding | None:
    """Return that nobody knows the lag: neither a bridge nor a worker has seen the end of the log lately."""
    seen_at = _seen_at(cursor)
    if now - seen_at < timedelta(seconds=UNSEEN_SECONDS):
        return None
    why = (
        f"nobody has seen the end of its log for {_seconds(now - seen_at)}: no bridge runs, or the log does not answer"
    )
    return _Finding(State.STUCK, seen_at, why, Runbook.LOG_UNSEEN)


def _seen_at(cursor: CursorRow) -> datetime:
    return cursor.log_end_at or cursor.created_at


def _left_behind(cursor: CursorRow, *, lag: int) -> _Finding:
    """Return how a partition does whose topic is read from another log now."""
    if not lag:
        return _Finding(State.IDLE, _seen_at(cursor), "its log is not in use; all that it held is ingested")
    why = "its log is not in use any more, and holds records that were not ingested"
    return _Finding(State.STUCK, _seen_at(cursor), why, Runbook.LOG_UNSEEN)


def _held_up(cursor: CursorRow) -> _Finding | None:
    """Return that what was written cannot be read, whatever the partition would do with it."""
    if not _is_held_up(cursor):
        return None
    assert cursor.held_up_since is not None
    why = (
        "a producer's open transaction hides what was written "
        f"from offset {cursor.held_up_offset} to {cursor.held_up_end}"
    )
    return _Finding(State.STUCK, cursor.held_up_since, why, Runbook.TRANSACTION_OPEN)


def _is_held_up(cursor: CursorRow) -> bool:
    """Tell whether a transaction that somebody saw open still is: where it ends, the end of the log moves on."""
    return cursor.held_up_offset is not None and cursor.log_end <= cursor.held_up_offset and not cursor.closed_at


def _held_up_seconds(cursor: CursorRow, *, now: datetime) -> float:
    if cursor.held_up_since is None or not _is_held_up(cursor):
        return 0.0
    return max((now - cursor.held_up_since).total_seconds(), 0.0)


def _stalled_seconds(cursor: CursorRow, *, now: datetime) -> float:
    return 0.0 if _is_new(cursor) else max((now - _standing_since(cursor)).total_seconds(), 0.0)


def _moving(cursor: CursorRow, *, lag: int, now: datetime) -> _Finding:
    since = _standing_since(cursor)
    if not lag:
        return _Finding(State.IDLE, cursor.progressed_at, "everything in the log is ingested")
    if _is_new(cursor):
        return _Finding(State.WORKING, cursor.log_end_at or since, "new records, about to be handed out")
    finding = _obstacle(cursor, since=since, now=now)
    if now - since >= timedelta(seconds=STALLED_SECONDS):
        return _stuck(cursor, finding, since=since, now=now)
    if finding is not None:
        return finding
    if lag > LAGGING_RECORDS:
        why = f"{lag:,} records behind, and moving"
        return _Finding(State.LAGGING, since, why, Runbook.PARTITION_STALLED)
    return _Finding(State.WORKING, since, "new records are being ingested")


def _is_new(cursor: CursorRow) -> bool:
    """Tell whether the log has just grown: nothing from next_offset on was ever handed out."""
    return cursor.dispatches == 0 and not cursor.last_error


def _standing_since(cursor: CursorRow) -> datetime:
    """Return since when the current range is under way: a partition may have rested for days before it."""
    return max(cursor.progressed_at, cursor.range_since or cursor.progressed_at)


def _stuck(cursor: CursorRow, finding: _Finding | None, *, since: datetime, now: datetime) -> _Finding:
    if finding is not None:
        return _Finding(State.STUCK, since, finding.why, finding.runbook)
    if cursor.started_at is not None:
        phase = f"is in phase {cursor.phase}" if cursor.phase else "works on it"
        why = f"its worker {phase} for {_seconds(now - cursor.started_at)}"
    else:
        why = "handed out again just now, and not committed yet"
    return _Finding(State.STUCK, since, why, Runbook.PARTITION_STALLED)


def _obstacle(cursor: CursorRow, *, since: datetime, now: datetime) -> _Finding | None:
    """Return what keeps the range from being committed, the most telling first; None where nothing is known."""
    if cursor.suspect_end is not None and cursor.suspect_end > cursor.next_offset and cursor.strikes:
        return _Finding(State.SUSPECTED, cursor.suspected_at or since, _suspicion(cursor), Runbook.RECORD_KILLS_WORKER)
    if _waits_for_worker(cursor, now=now):
        why = f"no worker takes its task, which was sent {_count(cursor.dispatches, 'time')}"
        return _Finding(State.WAITING_FOR_WORKER, since, why, Runbook.WAITING_FOR_WORKERS)
    if cursor.last_error:
        why, runbook = _failure(cursor.last_error)
        return _Finding(State.RETRYING, since, why, runbook)
    if cursor.dispatches > 1:
        why = f"its worker died or was lost; the range was sent {_count(cursor.dispatches, 'time')}"
        return _Finding(State.RETRYING, since, why, Runbook.PARTITION_STALLED)
    return None


def _waits_for_worker(cursor: CursorRow, *, now: datetime) -> bool:
    if cursor.dispatched_at is None or cursor.started_at is not None or cursor.ended_attempt >= cursor.attempt:
        return False
    # Sent more than twice, the wait is longer than the age of the last sending.
    return now - cursor.dispatched_at > timedelta(seconds=TAKEN_SECONDS) or (
        cursor.dispatches > 2 and not cursor.last_error
    )


def _suspicion(cursor: CursorRow) -> str:
    if cursor.condemned_offset == cursor.next_offset:
        return f"record {cursor.next_offset} has killed its worker three times alone and is being set aside"
    if cursor.suspect_end == cursor.next_offset + 1:
        seen = min(cursor.lone_strikes, STRIKES_TO_SET_ASIDE)
        unseen = f", {_count(cursor.lone_deaths, 'death')} that nobody saw" if cursor.lone_deaths else ""
        return f"record {cursor.next_offset} kills its worker: {seen} of {STRIKES_TO_SET_ASIDE} strikes{unseen}"
    span = f"[{cursor.next_offset}, {cursor.suspect_end})"
    return f"a record in {span} kills its worker: {_count(cursor.strikes, 'strike')}; the range is being halved"


# What `last_error` begins with: `sentinel.outcome.Outcome`, or a word of the dispatcher.
_FAILURES: dict[str, tuple[str, Runbook]] = {
    "unsent": ("Redis takes no tasks; sent again every second", Runbook.REDIS_AWAY),
    "busy": ("an earlier attempt still holds its lock", Runbook.PARTITION_STALLED),
    "log_unavailable": ("the log does not answer the worker", Runbook.KAFKA_AWAY),
    "offset_out_of_range": ("the log does not hold the next offset", Runbook.GAP),
    "database": ("PostgreSQL refuses or is away", Runbook.POSTGRES_AWAY),
    "redis": ("Redis does not answer the worker", Runbook.REDIS_AWAY),
    "system": ("the machine fails the worker", Runbook.PARTITION_STALLED),
    "killed": ("its worker was killed", Runbook.RECORD_KILLS_WORKER),
    "unproven": ("a stage breaks on the record, or the build does", Runbook.POISONED_BUILD),
    "out_of_memory": ("the worker has no memory left", Runbook.PARTITION_STALLED),
    "unexpected": ("a stage fails", Runbook.PARTITION_STALLED),
}


def _failure(last_error: str) -> tuple[str, Runbook]:
    kind, _, detail = last_error.partition(": ")
    if kind not in _FAILURES:
        return f"the last attempt failed: {last_error}", Runbook.PARTITION_STALLED
    what, runbook = _FAILURES[kind]
    return f"{what}: {detail}" if detail else what, runbook


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():,.0f} s"
