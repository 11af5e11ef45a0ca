"""Turn records of the log into verdicts: accepted events and rejected records."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ingestion.limits import Limits
from ingestion.log.base import Record
from ingestion.reject import WHOLE_EVENT, Rejected, RejectReason
from ingestion.validate import Accepted, decode_event

_NAMESPACE = uuid.UUID("5ec1a3d0-52b7-5f0e-9c39-53454e540001")
_NO_VALUE = Rejected(RejectReason.NOT_JSON, WHOLE_EVENT, "the record has no value")


@dataclass(frozen=True, slots=True)
class Decoded:
    """The verdicts on a range, each with its record, in offset order.

    `until` is the offset of the first record that was left, None where all were decoded.
    """

    accepted: Sequence[tuple[Record, Accepted]]
    rejected: Sequence[tuple[Record, Rejected]]
    until: int | None = None


def decode_records(
    records: Sequence[Record], *, topic_id: str, partition: int, limits: Limits, max_rejected: int | None = None
) -> Decoded:
    """Decode every record, but none after `max_rejected` rejects.

    An event without an id gets one from its place in the log, the same on every read.
    """
    accepted: list[tuple[Record, Accepted]] = []
    rejected: list[tuple[Record, Rejected]] = []
    for index, record in enumerate(records):
        verdict = (
            _NO_VALUE
            if record.value is None
            else decode_event(
                record.value,
                log_time_us=record.timestamp_ms * 1000,
                default_event_id=partial(_id_from_place, topic_id, partition, record.offset),
                limits=limits,
            )
        )
        if isinstance(verdict, Accepted):
            accepted.append((record, verdict))
            continue
        rejected.append((record, verdict))
        if len(rejected) == max_rejected and index + 1 < len(records):
            return Decoded(accepted, rejected, until=records[index + 1].offset)
    return Decoded(accepted, rejected)


def _id_from_place(topic_id: str, partition: int, offset: int) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, f"{topic_id}:{partition}:{offset}")
