"""How attempts end that do not commit, and what is said of them."""

from __future__ import annotations

import time
import traceback

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from ingestion import cursor as cursors
from ingestion import metrics
from ingestion.cursor import Dispatch
from ingestion.failpoint import failpoint
from ingestion.models import PartitionCursor
from ingestion.models.cursor import Phase
from ingestion.reject import SetAsideReason
from sentinel.bisection import Part, SetAside
from sentinel.exhaustion import exhausted
from sentinel.outcome import Outcome, described, halt_reason, outcome_of

logger = structlog.get_logger(__name__)

# While PostgreSQL is away, an attempt that failed because of it waits to say so: one that says nothing counts as dead,
# and so does one that is killed at its task's time limit. It gives up so long before that.
SPARE_SECONDS = 3.0
PAUSE_SECONDS = 0.1


def ended(task: Dispatch, error: Exception, *, began_at: float) -> Outcome:
    """Record why an attempt ended without committing; return the outcome.

    `began_at` is when its task began (`time.monotonic`): PostgreSQL has until shortly before the time limit to come
    back. Raises `django.db.Error` where it has not.
    """
    outcome = outcome_of(error)
    if outcome is Outcome.STALE:
        return outcome
    metrics.INGESTION_ERRORS.labels(outcome).inc()
    if outcome is Outcome.DATABASE:
        metrics.STORAGE_ERRORS.labels(type(error).__name__).inc()
    logger.warning(
        "ingest.attempt_failed",
        cursor=task.cursor_id,
        start=task.start,
        outcome=outcome,
        error=described(error),
        # Where, but not what: an exception's message may quote an event.
        stack="".join(traceback.format_tb(error.__traceback__)) if outcome is Outcome.UNEXPECTED else None,
    )
    deadline = began_at + settings.SENTINEL_TASK_TIME_LIMIT_SECONDS - SPARE_SECONDS
    failpoint("before_end")
    _tell(task, error, outcome, deadline=deadline)
    failpoint("after_end")
    return outcome


def _tell(task: Dispatch, error: Exception, outcome: Outcome, *, deadline: float) -> None:
    """Write the end of the attempt into the cursor, as soon as PostgreSQL takes it."""
    while True:
        try:
            if not connection.is_usable():
                connection.close()
            if outcome is Outcome.HALTED:
                cursors.halt(task, because=halt_reason(error), reason=str(error))
            else:
                is_unproven = outcome is Outcome.UNPROVEN
                cursors.end_attempt(task, error=f"{outcome}: {described(error)}", is_unproven=is_unproven)
        except (DatabaseError, InterfaceError):
            if time.monotonic() > deadline or exhausted():
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return


def log_broken(task: Dispatch, part: Part, because: SetAside) -> None:
    """Say that a stage broke on a part of the range, which is halved now or, if it is one record, set aside."""
    logger.warning(
        "ingest.stage_failed",
        cursor=task.cursor_id,
        start=task.start,
        end=part.end,
        reason=because.reason,
        error=because.message,
    )


def condemnation(cursor: PartitionCursor) -> SetAside | None:
    """Return why the record at the cursor is set aside unread; None where it is not.

    What another build died of, this one reads. A person who resumes condemns for every build, and is no build's fault.
    """
    if cursor.condemned_offset is None or cursor.condemned_offset != cursor.next_offset:
        return None
    if cursor.suspected_build not in ("", cursor.build):
        return None
    if not cursor.suspected_build:
        # Since then another attempt may have failed, and said so there.
        note = cursor.last_error if cursor.last_error.startswith(cursors.SET_ASIDE_BY) else "set aside by a person"
        return SetAside(SetAsideReason.BY_PERSON, "", note, keeps_payload=False)
    # Where its process died is what the bridge has noted, such as "killed: SIGSEGV in scrub".
    death = cursor.last_error.partition(": ")[2]
    phase = death.partition(" in ")[2]
    return SetAside(
        SetAsideReason.KILLED_WORKER,
        phase if phase in Phase.values else "",
        f"its worker was killed {cursor.lone_strikes} times with it alone, at last by {death or 'an unknown cause'}",
        keeps_payload=False,
    )
