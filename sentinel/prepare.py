"""What happens to a range outside the database: read, decode and validate, scrub; in this order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from django.conf import settings

from ingestion import cursor as cursors
from ingestion.cursor import Dispatch
from ingestion.dead_letters import RejectedRecord
from ingestion.decode import Decoded, decode_records
from ingestion.event_batch import EventBatch
from ingestion.failpoint import failpoint
from ingestion.limits import Limits
from ingestion.log.base import Chunk, Log, LogUnavailable, Record
from ingestion.models import PartitionCursor, Project
from ingestion.models.cursor import Phase
from ingestion.project_scrubber import project_scrubber
from ingestion.quota import RejectQuota, over_quota
from ingestion.range_size import MAX_REJECTED
from ingestion.read import last_batch, read_range
from ingestion.reject import WHOLE_EVENT, Rejected
from ingestion.scrub import Scrubber
from ingestion.scrub.events import scrub_events
from ingestion.scrub.payload import NO_PAYLOAD, ScrubbedPayload, scrub_bytes, scrub_payloads
from ingestion.scrubbed_header import joined, read_scrubbed
from sentinel.bisection import Part, SetAside
from sentinel.ingested import Prepared
from sentinel.stage import stage, timed


def prepare(log: Log, cursor: PartitionCursor, task: Dispatch, part: Part, *, quota: RejectQuota) -> Prepared:
    """Return the scrubbed events and the rejected records of a part of the task's range.

    Raises what `read_range` raises, and `StageFailed`.
    """
    last = last_batch(cursor)
    with timed(Phase.READ):
        chunk = read_range(log, cursor, part.end, last=last, max_bytes=settings.SENTINEL_BATCH_BYTES)
    failpoint("after_read")
    if chunk.next_offset <= task.start:
        raise LogUnavailable(f"{cursor} holds nothing readable at offset {task.start}")
    cursors.mark_phase(task, Phase.DECODE)
    with stage(Phase.DECODE):
        decoded = _decoded(cursor, chunk, part)
        if decoded.until is not None:
            chunk = chunk.until(decoded.until)
        failpoint("after_decode")
    cursors.mark_phase(task, Phase.SCRUB)
    with stage(Phase.SCRUB):
        scrubber = project_scrubber(cursor.project)
        events = _scrubbed_events(cursor.project_id, decoded, scrubber)
        aside = _set_aside(chunk, part.aside, scrubber)
        rejects = _rejects(cursor.project, decoded.rejected, scrubber, quota)
        failpoint("after_scrub")
    reasons = Counter(verdict.reason for _, verdict in decoded.rejected) + Counter(
        item.rejected.reason for item in aside
    )
    return Prepared(chunk, events, [*aside, *rejects], reasons, last)


def _decoded(cursor: PartitionCursor, chunk: Chunk, part: Part) -> Decoded:
    aside = part.aside
    records = [record for record in chunk.records if record.offset not in aside] if aside else chunk.records
    return decode_records(
        records,
        topic_id=cursor.topic_id,
        partition=cursor.partition,
        limits=Limits(
            max_event_bytes=settings.SENTINEL_MAX_EVENT_BYTES, keep_embeddings=cursor.project.keep_embeddings
        ),
        # What is to prove the build may lie behind any number of rejects.
        max_rejected=None if part.needs_proof else MAX_REJECTED,
    )


def _scrubbed_events(project_id: int, decoded: Decoded, scrubber: Scrubber) -> EventBatch:
    records = [record for record, _ in decoded.accepted]
    scrubbed = scrub_events([accepted for _, accepted in decoded.accepted], scrubber)
    return EventBatch(
        project_id,
        [record.offset for record in records],
        [record.timestamp_ms for record in records],
        [accepted for accepted, _ in scrubbed],
        # HTTP scrubs before it appends; what it found travels with the record.
        [joined(read_scrubbed(record.headers), found) for record, (_, found) in zip(records, scrubbed, strict=True)],
    )


def _rejects(
    project: Project, rejected: Sequence[tuple[Record, Rejected]], scrubber: Scrubber, quota: RejectQuota
) -> Sequence[RejectedRecord]:
    """Return what stands in the dead letters for records that are no events: one row each, as far as the quota goes."""
    allowed = quota.take(project, len(rejected))
    payloads = scrub_payloads([record.value or b"" for record, _ in rejected[:allowed]], scrubber)
    kept = [
        RejectedRecord.of(record, verdict, stage=Phase.DECODE, payload=payload)
        for (record, verdict), payload in zip(rejected[:allowed], payloads, strict=True)
    ]
    if allowed == len(rejected):
        return kept
    others, verdicts = zip(*rejected[allowed:], strict=True)
    return [*kept, RejectedRecord.counted(others, over_quota(project, verdicts), stage=Phase.DECODE)]


def _set_aside(chunk: Chunk, aside: Mapping[int, SetAside], scrubber: Scrubber) -> Sequence[RejectedRecord]:
    """Return what stands in the dead letters for records that no stage may touch again."""
    return [
        RejectedRecord.of(
            record,
            Rejected(why.reason, WHOLE_EVENT, why.message),
            stage=why.phase,
            payload=_payload(record, scrubber) if why.keeps_payload else NO_PAYLOAD,
        )
        for record in chunk.records
        if (why := aside.get(record.offset)) is not None
    ]


def _payload(record: Record, scrubber: Scrubber) -> ScrubbedPayload:
    try:
        return scrub_bytes(record.value or b"", scrubber)
    except Exception:  # noqa: BLE001  # The record has broken one stage already; it may break this one, too.
        return NO_PAYLOAD
