"""Why a dead letter shows no record, or is not sent again: one sentence, the same in admin, API and command line."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from ingestion.models import DeadLetter
from ingestion.models.dead_letter import DeadLetterStatus
from ingestion.reject import SetAsideReason


class SkipReason(enum.StrEnum):
    """Why a dead letter is not replayed."""

    UNKNOWN = "unknown"
    REPLAYED = "replayed_before"
    NO_PAYLOAD = "no_payload"
    PAYLOAD_CUT = "payload_cut"
    COUNTED_ONLY = "counted_only"
    BEING_REPLAYED = "being_replayed"
    LOG_UNAVAILABLE = "log_unavailable"
    DATABASE_UNAVAILABLE = "database_unavailable"


# What does not lie in the letter.
WHY_SKIPPED: Mapping[SkipReason, str] = {
    SkipReason.UNKNOWN: "there is no such dead letter",
    SkipReason.BEING_REPLAYED: "somebody else is replaying it at this moment",
    SkipReason.LOG_UNAVAILABLE: "it was not sent, for the log did not confirm others of its topic before it",
    SkipReason.DATABASE_UNAVAILABLE: "it was not sent, for PostgreSQL did not answer",
}


def skip_reason(letter: DeadLetter) -> SkipReason | None:
    """Return why a letter cannot be replayed; None where it can."""
    if letter.status == DeadLetterStatus.REPLAYED:
        return SkipReason.REPLAYED
    if letter.reason == SetAsideReason.OVER_QUOTA:
        return SkipReason.COUNTED_ONLY
    if not letter.payload:
        return SkipReason.NO_PAYLOAD
    return SkipReason.PAYLOAD_CUT if letter.payload_cut else None


def why_withheld(letter: DeadLetter) -> str | None:
    """Return why the record of a letter cannot be shown; None where its payload was kept."""
    if letter.records > 1 or letter.reason == SetAsideReason.OVER_QUOTA:
        number = "1 record" if letter.records == 1 else f"{letter.records:,} records"
        return f"over the project's quota: {number} counted, none kept"
    if letter.payload:
        return None
    if letter.reason == SetAsideReason.KILLED_WORKER:
        return "it killed its worker: only size and hash are kept"
    if letter.reason == SetAsideReason.BY_PERSON:
        return "a person set it aside unread: only size and hash are kept"
    if not letter.size_bytes:
        return "it was empty"
    return "it could not be scrubbed: only size and hash are kept"


def why_not_replayed(letter: DeadLetter) -> str | None:
    """Return why a letter cannot be sent again; None where it can."""
    reason = skip_reason(letter)
    if reason is None:
        return None
    if reason is SkipReason.REPLAYED:
        when = f"{letter.replayed_at:%Y-%m-%d %H:%M:%S} UTC" if letter.replayed_at else "an unknown time"
        return f"it was replayed at {when}"
    if reason is SkipReason.PAYLOAD_CUT:
        return "its payload was cut when it was set aside; what is left is no event"
    return why_withheld(letter) or reason.value.replace("_", " ")
