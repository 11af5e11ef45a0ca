"""Going on with a halted partition after a person has looked: what can be decided, what it means, and doing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from django.db import connection

from ingestion.begun_anew import BEGUN_ANEW
from ingestion.cursor import SET_ASIDE_BY
from ingestion.models import HaltReason, PartitionCursor
from ingestion.read import last_batch

logger = structlog.get_logger(__name__)


class ResumeRefused(Exception):
    """The partition cannot be resumed, or not in this way; the message says why, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a person decides beyond going on.

    `accept_log`: the log as it is now is the truth. `set_aside`: the one record at `next_offset` is set aside unread.
    """

    accept_log: bool = False
    set_aside: bool = False


_DEATHS = frozenset({HaltReason.POISONED_BUILD.value, HaltReason.UNEXPLAINED_DEATHS.value})

_RESUME = f"""
    UPDATE ingestion_partitioncursor
    SET halted_because = '', halted_reason = '', halted_at = NULL, last_error = left(%(note)s, 300), {BEGUN_ANEW},
        condemned_offset = CASE WHEN %(set_aside)s THEN next_offset END,
        trusted_batch_id = coalesce(%(trusted_batch_id)s, trusted_batch_id),
        accepted_build = CASE WHEN %(accept_build)s THEN build ELSE accepted_build END
    WHERE id = %(id)s AND next_offset = %(next_offset)s AND attempt = %(attempt)s
        AND halted_reason = %(halted_reason)s AND halted_at IS NOT DISTINCT FROM %(halted_at)s AND closed_at IS NULL
"""


def can_accept_log(cursor: PartitionCursor) -> bool:
    """Tell whether `accept_log` is the decision that this halt asks for."""
    return cursor.halted_because == HaltReason.LOG_REPLACED


def can_set_aside(cursor: PartitionCursor) -> bool:
    """Tell whether one record is what the partition halts at."""
    return cursor.halted_because in _DEATHS


def refusal(cursor: PartitionCursor, choice: Choice) -> str | None:
    """Return why the partition cannot be resumed in this way; None where it can."""
    if cursor.closed_at is not None:
        return f"{cursor} is closed for good"
    if not cursor.halted_reason:
        return f"{cursor} is not halted"
    if choice.set_aside and not can_set_aside(cursor):
        return f"{cursor} halted for {cursor.halted_because or 'another reason'}: there is no one record to set aside"
    if choice.accept_log and not can_accept_log(cursor):
        return f"{cursor} halted for {cursor.halted_because or 'another reason'}: there is no other log to accept"
    if can_accept_log(cursor) and not choice.accept_log:
        return f"{cursor} halted because the log holds other records: it goes on only if you accept the log as it is now (--accept-log)"
    return None


def outlook(cursor: PartitionCursor, choice: Choice) -> str:
    """Return what will happen, in sentences for whoever decides."""
    text = _SET_ASIDE if choice.set_aside else _OUTLOOK.get(cursor.halted_because, _ANEW)
    return text.format(offset=cursor.next_offset, build=cursor.build or "of the halted attempt")


_ANEW = "It is checked anew, and halts again if the reason still holds."
_DEATH_OUTLOOK = (
    "The records from offset {offset} on are tried again, and what was held against them is forgotten. If one of them "
    "kills its worker again, the partition will halt again after some more deaths."
)
_SET_ASIDE = (
    "Record {offset} is set aside unread: its dead letter keeps size and SHA-256, never its content, and it cannot be "
    "replayed. Everything after it is ingested."
)
_OUTLOOK: Mapping[str, str] = {
    HaltReason.LOG_REPLACED.value: (
        "From offset {offset} on, the log as it is now is taken for the truth. What was ingested stays stored; other "
        "records that the log holds below offset {offset} are never read."
    ),
    HaltReason.OTHER_CLUSTER.value: (
        "It goes on at offset {offset} if the brokers are those of its cluster again; otherwise it halts again within "
        "seconds."
    ),
    HaltReason.BEYOND_END.value: (
        "It goes on if the log has reached offset {offset} by now; otherwise it halts again after a minute."
    ),
    HaltReason.POISONED_BUILD.value: _DEATH_OUTLOOK,
    HaltReason.UNEXPLAINED_DEATHS.value: _DEATH_OUTLOOK,
    HaltReason.BAD_DEPLOY.value: (
        "Build {build} is accepted: from now on, records that it rejects become dead letters and do not halt the "
        "partition again. If you have rolled back, the build from before goes on as it did."
    ),
    HaltReason.EVENTS_MISSING.value: (
        "The baselines are rebuilt once more; it halts again unless the missing events are stored again."
    ),
    HaltReason.CONFIG_MISSING.value: (
        "The baselines are rebuilt once more; it halts again unless the missing configuration is there again."
    ),
}


def resume(cursor: PartitionCursor, choice: Choice, *, by: str) -> None:
    """Let the partition go on, once: raises `ResumeRefused` where that does not fit, or the cursor has changed since."""
    why_not = refusal(cursor, choice)
    if why_not is not None:
        raise ResumeRefused(why_not)
    last = last_batch(cursor) if choice.accept_log else None
    with connection.cursor() as sql:
        sql.execute(
            _RESUME,
            {
                "id": cursor.pk,
                "next_offset": cursor.next_offset,
                "attempt": cursor.attempt,
                "halted_reason": cursor.halted_reason,
                "halted_at": cursor.halted_at,
                "set_aside": choice.set_aside,
                "trusted_batch_id": last.stamp.batch_id if last else None,
                "accept_build": cursor.halted_because == HaltReason.BAD_DEPLOY,
                "note": f"{SET_ASIDE_BY} {by}, after a halt: {cursor.halted_reason}" if choice.set_aside else "",
            },
        )
        if not sql.rowcount:
            raise ResumeRefused(f"{cursor} has changed meanwhile; look again")
    logger.warning(
        "partition.resumed",
        partition=str(cursor),
        offset=cursor.next_offset,
        halted_because=cursor.halted_because or None,
        accept_log=choice.accept_log,
        set_aside=choice.set_aside,
        by=by,
    )
