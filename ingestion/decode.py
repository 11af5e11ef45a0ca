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


@dataclass(frozen=True, slots=True)
class Decoded:
    """The verdicts on a range, each with its record, in offset order."""

    accepted: Sequence[tuple[Record, Accepted]]
    rejected: Sequence[tuple[Record, Rejected]]


def decode_records(records: Sequence[Record], *, topic_id: str, partition: int, limits: Limits) -> Decoded:
    """Decode every record; an event without an id gets one from its place in the log, the same on every read."""
    accepted: list[tuple[Record, Accepted]] = []
    rejected: list[tuple[Record, Rejected]] = []
    for record in records:
        if record.value is None:
            rejected.append((record, Rejected(RejectReason.NOT_JSON, WHOLE_EVENT, "the record has no value")))
            continue
        verdict = decode_event(
            record.value,
            log_time_us=record.timestamp_ms * 1000,
            default_event_id=partial(_id_from_place, topic_id, partition, record.offset),
            limits=limits,
        )
        if isinstance(verdict, Accepted):
            accepted.append((record, verdict))
        else:
            rejected.append((record, verdict))
    return Decoded(accepted, rejected)


def _id_from_place(topic_id: str, partition: int, offset: int) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, f"{topic_id}:{partition}:{offset}")
