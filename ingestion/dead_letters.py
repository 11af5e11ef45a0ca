"""Set aside what cannot become an event, and send it again once the reason is gone."""

from __future__ import annotations

import enum
import hashlib
import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction
from django.db.models.functions import Now
from psycopg2.extras import execute_values

from ingestion.event import encode_event
from ingestion.limits import Limits
from ingestion.log.base import NewRecord, Record
from ingestion.log.producer import append
from ingestion.models import DeadLetter
from ingestion.models.dead_letter import DeadLetterStatus
from ingestion.reject import SetAsideReason
from ingestion.scrub.payload import NO_PAYLOAD, ScrubbedPayload
from ingestion.series_key import series_key
from ingestion.validate import Rejected, decode_event

REPLAY_TIMEOUT_SECONDS = 10.0
REPLAY_HEADER = "sentinel-replay-of"
# What the column holds.
MAX_SIZE_BYTES = 2**31 - 1

_NAMESPACE = uuid.UUID("5ec1a3d0-52b7-5f0e-9c39-53454e540003")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """A record with the reason and its payload.

    With `records` > 1 it stands for so many of its range, from this one on, that are counted only; `size_bytes` is then
    the size of all of them, and there is no digest.
    """

    record: Record
    rejected: Rejected
    stage: str
    payload: ScrubbedPayload
    size_bytes: int
    sha256: bytes
    records: int = 1

    @classmethod
    def of(cls, record: Record, rejected: Rejected, *, stage: str, payload: ScrubbedPayload) -> RejectedRecord:
        """Return one record as it is kept."""
        value = record.value or b""
        return cls(record, rejected, stage, payload, len(value), hashlib.sha256(value).digest())

    @classmethod
    def counted(cls, records: Sequence[Record], rejected: Rejected, *, stage: str) -> RejectedRecord:
        """Return the one row that stands for all of these."""
        size_bytes = min(sum(len(record.value or b"") for record in records), MAX_SIZE_BYTES)
        return cls(records[0], rejected, stage, NO_PAYLOAD, size_bytes, b"", len(records))


class SkipReason(enum.StrEnum):
    """Why a dead letter is not replayed."""

    UNKNOWN = "unknown"
    REPLAYED = "replayed_before"
    NO_PAYLOAD = "no_payload"
    PAYLOAD_CUT = "payload_cut"
    COUNTED_ONLY = "counted_only"


_INSERT = """
    INSERT INTO ingestion_deadletter
        (project_id, cursor_id, log_offset, records, log_time, stage, reason, field, message, size_bytes, sha256, payload, payload_cut, status)
    VALUES %s ON CONFLICT (cursor_id, log_offset) DO NOTHING
"""


def store_dead_letters(rejected: Sequence[RejectedRecord], *, project_id: int, cursor_id: int) -> None:
    """Insert the rejected records of one range inside the caller's transaction."""
    if not rejected:
        return
    rows = [_row(item, project_id=project_id, cursor_id=cursor_id) for item in rejected]
    with connection.cursor() as sql:
        execute_values(
            sql.cursor,
            _INSERT,
            rows,
            template=f"(%s, %s, %s, %s, to_timestamp(%s), {', '.join(['%s'] * 9)})",
            page_size=500,
        )


def _row(item: RejectedRecord, *, project_id: int, cursor_id: int) -> tuple[object, ...]:
    return (
        project_id,
        cursor_id,
        item.record.offset,
        item.records,
        item.record.timestamp_ms / 1000,
        item.stage,
        item.rejected.reason.value,
        item.rejected.field[:200],
        item.rejected.message[:500],
        item.size_bytes,
        item.sha256,
        item.payload.text,
        item.payload.is_cut,
        DeadLetterStatus.OPEN.value,
    )


def replay(dead_letter_ids: Collection[int]) -> Mapping[str, int]:
    """Append open dead letters to their topic again and mark them.

    Returns how many were "replayed" and "skipped", and of the skipped how many for each `SkipReason` that occurred.

    What is sent is the scrubbed payload: it is all that was kept. A second replay of the same letter is skipped.
    Raises `LogUnavailable`; then no letter is marked.
    """
    ids = set(dead_letter_ids)
    with transaction.atomic():
        found = list(
            DeadLetter.objects.select_for_update(of=("self",))
            .filter(pk__in=ids)
            .select_related("cursor__project")
            .order_by("pk")
        )
        letters = [letter for letter in found if skip_reason(letter) is None]
        _append_by_topic(letters)
        DeadLetter.objects.filter(pk__in=[letter.pk for letter in letters]).update(
            status=DeadLetterStatus.REPLAYED, replayed_at=Now()
        )
    skips = Counter(reason.value for letter in found if (reason := skip_reason(letter)) is not None)
    if len(found) < len(ids):
        skips[SkipReason.UNKNOWN.value] = len(ids) - len(found)
    return {"replayed": len(letters), "skipped": len(ids) - len(letters), **skips}


def skip_reason(letter: DeadLetter) -> SkipReason | None:
    """Return why a letter cannot be replayed; None where it can."""
    if letter.status == DeadLetterStatus.REPLAYED:
        return SkipReason.REPLAYED
    if letter.reason == SetAsideReason.OVER_QUOTA:
        return SkipReason.COUNTED_ONLY
    if not letter.payload:
        return SkipReason.NO_PAYLOAD
    return SkipReason.PAYLOAD_CUT if letter.payload_cut else None


def _append_by_topic(letters: Sequence[DeadLetter]) -> None:
    by_topic: dict[str, list[NewRecord]] = defaultdict(list)
    for letter in letters:
        by_topic[letter.cursor.topic].append(_record(letter))
    for topic, records in by_topic.items():
        append(topic, records, timeout_seconds=REPLAY_TIMEOUT_SECONDS)


def _record(letter: DeadLetter) -> NewRecord:
    """Return what to append: an event in the partition of its series, anything else as it was kept.

    An event without an id or a time gets those of its first place in the log, so that it is stored once however often
    it is replayed: the log may have taken it although the answer, and with it the mark on the letter, was lost.
    """
    origin = f"{letter.cursor_id}:{letter.log_offset}"
    headers = [(REPLAY_HEADER, origin.encode())]
    verdict = decode_event(
        letter.payload.encode(),
        log_time_us=(letter.log_time - _EPOCH) // timedelta(microseconds=1),
        default_event_id=uuid.uuid5(_NAMESPACE, origin),
        limits=Limits(keep_embeddings=letter.cursor.project.keep_embeddings),
    )
    if isinstance(verdict, Rejected):
        return NewRecord(origin.encode(), letter.payload.encode(), headers)
    return NewRecord(series_key(verdict.event), encode_event(verdict.event), headers)
