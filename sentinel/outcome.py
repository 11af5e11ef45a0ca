"""How an attempt on a range ended, and what an error is about: a record, the surroundings, or a person's decision.

The one table of what is done about an error:

- of the surroundings (the log, Redis, the system; PostgreSQL but for the classes below): the attempt ends, the bridge
  tries again with growing pauses, nothing is held against a record;
- of a record (SQLSTATE classes 22, 23 and 54, no memory, anything unexpected inside a stage): the range is halved at
  once, down to the record that is set aside (`sentinel.bisection`);
- of the partition as a whole: it halts until a person has looked.
"""

from __future__ import annotations

import enum

import psycopg2
import redis
from django.db import DatabaseError, InterfaceError

from detection.config import UnknownConfig
from detection.rebuild import EventsMissing
from ingestion import cursor as cursors
from ingestion.bad_deploy import BadDeploy
from ingestion.log.base import LogUnavailable, OffsetOutOfRange
from ingestion.models import HaltReason
from ingestion.partitions import PartitionMissing
from ingestion.read import LogReplaced, OtherCluster
from sentinel.bisection import PoisonedBuild, Unproven


class Overtaken(Exception):
    """The cursor no longer stands where this attempt started: somebody else has committed the range."""


class Outcome(enum.StrEnum):
    """How an attempt ended; goes to the log and the metric."""

    COMMITTED = "committed"
    STALE = "stale"
    BUSY = "busy"
    HALTED = "halted"
    LOG_UNAVAILABLE = "log_unavailable"
    OFFSET_OUT_OF_RANGE = "offset_out_of_range"
    DATABASE = "database"
    REDIS = "redis"
    SYSTEM = "system"
    OUT_OF_MEMORY = "out_of_memory"
    UNPROVEN = cursors.UNPROVEN
    UNEXPECTED = "unexpected"


# The first that fits: subclasses stand before their bases.
HALTS: dict[type[Exception], HaltReason] = {
    OtherCluster: HaltReason.OTHER_CLUSTER,
    LogReplaced: HaltReason.LOG_REPLACED,
    EventsMissing: HaltReason.EVENTS_MISSING,
    UnknownConfig: HaltReason.CONFIG_MISSING,
    BadDeploy: HaltReason.BAD_DEPLOY,
    PoisonedBuild: HaltReason.POISONED_BUILD,
}
OUTCOMES: dict[type[Exception], Outcome] = {
    Overtaken: Outcome.STALE,
    **dict.fromkeys(HALTS, Outcome.HALTED),
    Unproven: Outcome.UNPROVEN,
    LogUnavailable: Outcome.LOG_UNAVAILABLE,
    OffsetOutOfRange: Outcome.OFFSET_OUT_OF_RANGE,
    PartitionMissing: Outcome.DATABASE,
    DatabaseError: Outcome.DATABASE,
    InterfaceError: Outcome.DATABASE,
    psycopg2.Error: Outcome.DATABASE,
    redis.RedisError: Outcome.REDIS,
    OSError: Outcome.SYSTEM,
    MemoryError: Outcome.OUT_OF_MEMORY,
}
# Data exception, integrity constraint violation, program limit exceeded: what the statement held.
# All others are of the surroundings, above all 08 connection, 40 rollback and deadlock, 53 resources, 55 lock not
# available, 57 intervention and time limit; a lost connection has no SQLSTATE at all.
RECORD_SQLSTATE_CLASSES = frozenset({"22", "23", "54"})
# psycopg2's error behind Django's, behind ours.
MAX_CAUSES = 4


def outcome_of(error: Exception) -> Outcome:
    """Return which of the named ways of ending this is."""
    return next((found for kind, found in OUTCOMES.items() if isinstance(error, kind)), Outcome.UNEXPECTED)


def halt_reason(error: Exception) -> HaltReason:
    """Return why an error whose outcome is `HALTED` halts the partition."""
    return next(reason for kind, reason in HALTS.items() if isinstance(error, kind))


def is_about_records(error: Exception) -> bool:
    """Tell whether an error that a stage raised may be the fault of a record; then halving the range finds it."""
    outcome = outcome_of(error)
    if outcome is Outcome.DATABASE:
        return (sqlstate(error) or "")[:2] in RECORD_SQLSTATE_CLASSES
    return outcome in {Outcome.OUT_OF_MEMORY, Outcome.UNEXPECTED}


def sqlstate(error: BaseException) -> str | None:
    """Return PostgreSQL's five characters; None where it did not answer, or it is no error of PostgreSQL."""
    cause: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if code := getattr(cause, "pgcode", None):
            return str(code)
        cause = cause.__cause__ if cause else None
    return None


def described(error: Exception) -> str:
    """Describe an error without its values: PostgreSQL's messages quote the row."""
    if isinstance(error, LogUnavailable | OffsetOutOfRange | Unproven):
        return str(error)
    return f"{type(error).__name__} {sqlstate(error) or ''}".strip()
