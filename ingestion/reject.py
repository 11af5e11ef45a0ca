"""Why an event was refused, in words that name the field and never its content."""

from __future__ import annotations

import enum
from dataclasses import dataclass

WHOLE_EVENT = "$"


class RejectReason(enum.StrEnum):
    """The closed set of reasons; they go to the dead letter, the log, the metric and the sender."""

    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    MISSING_FIELD = "missing_field"
    EMPTY_FIELD = "empty_field"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_VALUE = "unknown_value"
    NUL_CHARACTER = "nul_character"
    LONE_SURROGATE = "lone_surrogate"
    NOT_FINITE = "not_finite"
    OUT_OF_RANGE = "out_of_range"
    BAD_UUID = "bad_uuid"
    BAD_TIMESTAMP = "bad_timestamp"
    BAD_FORMAT = "bad_format"
    TOO_LONG = "too_long"
    TOO_MANY_ITEMS = "too_many_items"
    TOO_DEEP = "too_deep"
    TOO_MANY_KEYS = "too_many_keys"
    METADATA_TOO_LARGE = "metadata_too_large"


class SetAsideReason(enum.StrEnum):
    """Why a record that no rule refuses is set aside nevertheless: no stage survives it, or there are too many."""

    KILLED_WORKER = "killed_worker"
    STAGE_FAILED = "stage_failed"
    STORAGE_REFUSED = "storage_refused"
    OUT_OF_MEMORY = "out_of_memory"
    BY_PERSON = "by_person"
    OVER_QUOTA = "over_quota"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A verdict: `field` is a JSON path such as "prompt.tokens", "$" the whole event, "[...]" a name of the sender's."""

    reason: RejectReason | SetAsideReason
    field: str
    message: str


class RefusedError(Exception):
    """Raised inside the contract where a rule is broken; `decode_event` catches it and returns its verdict."""

    def __init__(self, reason: RejectReason, field: str, why: str, *, subject: str = "the event") -> None:
        self.rejected = Rejected(reason, field, f"{subject if field == WHOLE_EVENT else field} {why}")
        super().__init__(self.rejected.message)
