"""Judge the events of one HTTP body, scrub what is accepted, and append it to the project's topic."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec
from django.conf import settings

from api.errors import ApiError, ErrorCode, FieldError
from api.metrics import HTTP_EVENTS
from ingestion.content import original_length
from ingestion.envelope import Envelope, split_envelope
from ingestion.event import Event, PromptInfo, ResponseInfo
from ingestion.headers import ProducerStamp, write_stamp
from ingestion.http_topic import http_topic
from ingestion.limits import MAX_BODY_EVENTS, Limits
from ingestion.log.base import NewRecord
from ingestion.metrics import VALIDATION_FAILURES
from ingestion.models import Project
from ingestion.project_scrubber import project_scrubber
from ingestion.reject import Rejected
from ingestion.scrub import scrub_events
from ingestion.scrubbed_header import write_scrubbed
from ingestion.series_key import series_key
from ingestion.validate import Accepted, decode_event, encode_event, is_late

IDEMPOTENCY_NAMESPACE = uuid.UUID("5ec1a3d0-52b7-5f0e-9c39-53454e540002")
APPEND_TIMEOUT_SECONDS = 10.0
SECONDS_PER_DAY = 86_400

_Part = TypeVar("_Part", PromptInfo, ResponseInfo)


class Append(Protocol):
    """`ingestion.log.producer.append`, or a fake."""

    def __call__(self, topic: str, records: Sequence[NewRecord], *, timeout_seconds: float) -> None:
        """Return once all records are durable; raise `LogUnavailable` otherwise."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What became of each event of a body, in its order."""

    of_events: Sequence[Accepted | Rejected]

    @property
    def accepted(self) -> list[Accepted]:
        """The events to store."""
        return [verdict for verdict in self.of_events if isinstance(verdict, Accepted)]

    @property
    def rejected(self) -> list[tuple[int, Rejected]]:
        """The refused events with their positions."""
        return [(i, verdict) for i, verdict in enumerate(self.of_events) if isinstance(verdict, Rejected)]

    def count(self) -> None:
        """Add to the metrics."""
        HTTP_EVENTS.labels("accepted").inc(len(self.accepted))
        HTTP_EVENTS.labels("rejected").inc(len(self.rejected))
        for _, verdict in self.rejected:
            VALIDATION_FAILURES.labels(verdict.reason.value).inc()

    def shape(self, *, retention_days: int) -> dict[str, Any]:
        """Return the answer: totals and one result per event."""
        now_us = time.time_ns() // 1_000
        results = [
            _rejected_shape(index, verdict)
            if isinstance(verdict, Rejected)
            else _accepted_shape(index, verdict, now_us=now_us, retention_days=retention_days)
            for index, verdict in enumerate(self.of_events)
        ]
        return {"accepted": len(self.accepted), "rejected": len(self.rejected), "results": results}


def _accepted_shape(index: int, accepted: Accepted, *, now_us: int, retention_days: int) -> dict[str, Any]:
    shape = {"index": index, "status": "accepted", "event_id": str(accepted.event_id)}
    late = is_late(accepted.timestamp_us, now_us, retention_days * SECONDS_PER_DAY)
    return shape if late is None else shape | {"late": late.value}


def _rejected_shape(index: int, rejected: Rejected) -> dict[str, Any]:
    return {
        "index": index,
        "status": "rejected",
        "reason": rejected.reason.value,
        "field": rejected.field,
        "message": rejected.message,
    }


def split_json(body: bytes) -> Envelope:
    """Return the events of a JSON body; raise the 400 where it is none."""
    envelope = split_envelope(body)
    if isinstance(envelope, Rejected):
        raise _invalid_body(envelope.field, envelope.message)
    if not envelope.events:
        raise _invalid_body("events", "events must have at least one event")
    return envelope


def split_lines(body: bytes) -> Envelope:
    """Return the events of a body that has one per line."""
    lines = tuple(line for line in body.split(b"\n") if line.strip())
    if not lines:
        raise _invalid_body("$", "the body has no line with an event")
    if len(lines) > MAX_BODY_EVENTS:
        raise _invalid_body("$", f"the body has more than {MAX_BODY_EVENTS} lines")
    return Envelope(lines, None, is_single=False)


def _invalid_body(field: str, reason: str) -> ApiError:
    return ApiError(400, ErrorCode.INVALID_BODY, reason, fields=[FieldError(field, reason)])


def judge(events: Sequence[bytes], *, project: Project, idempotency_key: str | None) -> Verdicts:
    """Decode and validate every event alone."""
    limits = _limits(project)
    return Verdicts(
        [
            decode_event(
                payload,
                log_time_us=None,
                default_event_id=partial(_event_id, project, idempotency_key, index),
                limits=limits,
            )
            for index, payload in enumerate(events)
        ]
    )


def _limits(project: Project) -> Limits:
    return Limits(max_event_bytes=settings.SENTINEL_MAX_EVENT_BYTES, keep_embeddings=project.keep_embeddings)


def _event_id(project: Project, idempotency_key: str | None, index: int) -> uuid.UUID:
    """Return the id of an event that has none: the same for the same request sent again, where it has a key."""
    if idempotency_key is None:
        return uuid.uuid4()
    return uuid.uuid5(IDEMPOTENCY_NAMESPACE, json.dumps([project.pk, idempotency_key, index]))


def scrub_accepted(envelope: Envelope, verdicts: Verdicts, *, project: Project) -> tuple[Verdicts, list[NewRecord]]:
    """Scrub the accepted events and return the final verdicts with the records to append.

    Placeholders may be longer than what they replace, so the scrubbed event is judged as the worker will judge it:
    what would become a dead letter there is rejected here, where its sender learns of it.
    """
    of_events = list(verdicts.of_events)
    indexes = [index for index, verdict in enumerate(of_events) if isinstance(verdict, Accepted)]
    scrubbed = scrub_events(verdicts.accepted, project_scrubber(project))
    limits = _limits(project)
    records = []
    for index, (accepted, counts) in zip(indexes, scrubbed, strict=True):
        payload = encode_event(_with_lengths(accepted))
        verdict = decode_event(payload, log_time_us=None, default_event_id=None, limits=limits)
        if isinstance(verdict, Rejected):
            of_events[index] = replace(verdict, message=f"{verdict.message}; measured after scrubbing")
        else:
            records.append(_record(accepted.event, payload, counts, envelope.stamp(index)))
    return Verdicts(of_events), records


def _with_lengths(accepted: Accepted) -> Event:
    """Return the event with the lengths of the texts as they were sent, which the worker cannot measure any more.

    Digests of cut texts are there already.
    """
    event = accepted.event
    prompt = _with_length(event.prompt, accepted.prompt_length)
    response = _with_length(event.response, accepted.response_length)
    if prompt is event.prompt and response is event.response:
        return event
    return msgspec.structs.replace(event, prompt=prompt, response=response)


def _with_length(part: _Part, length: int | None) -> _Part:
    return part if original_length(part) == length else msgspec.structs.replace(part, original_length=length)


def append_records(records: Sequence[NewRecord], *, project: Project, append: Append) -> None:
    """Append to the project's topic; returns once all are durable, raises `LogUnavailable` otherwise."""
    append(http_topic(project), records, timeout_seconds=APPEND_TIMEOUT_SECONDS)


def _record(event: Event, payload: bytes, counts: Mapping[str, int] | None, stamp: ProducerStamp | None) -> NewRecord:
    headers = [*(write_stamp(stamp) if stamp is not None else ()), *write_scrubbed(counts)]
    return NewRecord(series_key(event), payload, headers)
