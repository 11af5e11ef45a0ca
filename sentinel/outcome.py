"""How an attempt on a range ended, and what is said of an error."""

from __future__ import annotations

import enum

from django.db import DatabaseError, InterfaceError

from ingestion.log.base import LogUnavailable, OffsetOutOfRange


class Outcome(enum.StrEnum):
    """How an attempt ended; goes to the log and the metric."""

    COMMITTED = "committed"
    STALE = "stale"
    BUSY = "busy"
    HALTED = "halted"
    LOG_UNAVAILABLE = "log_unavailable"
    OFFSET_OUT_OF_RANGE = "offset_out_of_range"
    DATABASE = "database"
    OUT_OF_MEMORY = "out_of_memory"
    UNEXPECTED = "unexpected"


_OUTCOMES: dict[type[Exception], Outcome] = {
    LogUnavailable: Outcome.LOG_UNAVAILABLE,
    OffsetOutOfRange: Outcome.OFFSET_OUT_OF_RANGE,
    DatabaseError: Outcome.DATABASE,
    InterfaceError: Outcome.DATABASE,
    MemoryError: Outcome.OUT_OF_MEMORY,
}


def outcome_of(error: Exception) -> Outcome:
    """Return which of the named ways of failing this is."""
    return next((found for kind, found in _OUTCOMES.items() if isinstance(error, kind)), Outcome.UNEXPECTED)


def described(error: Exception) -> str:
    """Describe an error without its values: PostgreSQL's messages quote the row."""
    if isinstance(error, LogUnavailable | OffsetOutOfRange):
        return str(error)
    sqlstate = getattr(error.__cause__, "pgcode", None)
    return f"{type(error).__name__} {sqlstate or ''}".strip()
