"""Decode one event of the wire, check it against the contract and bring it into its normal form.

The fast path is msgspec's strict decoder and the few checks that a type cannot express, each behind the cheapest
condition that can rule it out. Only what fails it, or has fields we do not know, is read again by
`ingestion.diagnose`. Nothing here scrubs: accepted events still hold what the sender wrote.
"""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Callable

import msgspec
from msgspec.structs import force_setattr

from ingestion.content import (
    EmbeddingSummary,
    cut_part,
    embedding_summary,
    original_length,
    original_sha256,
    reduce_embedding,
)
from ingestion.diagnose import NUL_ESCAPE, decode_slowly
from ingestion.event import Event, encode_event
from ingestion.limits import Limits
from ingestion.normalise import normalise_event
from ingestion.reject import WHOLE_EVENT, RefusedError, Rejected, RejectReason

__all__ = [
    "Accepted",
    "LateReason",
    "RejectReason",
    "Rejected",
    "decode_event",
    "encode_event",
    "is_late",
]

MAX_CLOCK_LEAD_SECONDS = 3_600
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_UTC = dt.UTC

DefaultEventId = uuid.UUID | Callable[[], uuid.UUID]

_decode = msgspec.json.Decoder(Event).decode


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """A valid event in its normal form; a msgspec struct because building a frozen dataclass takes a microsecond.

    The event has its id and a UTC timestamp, its texts are cut, its embeddings reduced unless the limits keep them.
    Lengths are in characters before any cut; digests are of the UTF-8 text before it and None where nothing was cut.
    """

    event: Event
    event_id: uuid.UUID
    timestamp_us: int
    prompt_length: int | None
    response_length: int | None
    prompt_sha256: bytes | None
    response_sha256: bytes | None
    prompt_embedding: EmbeddingSummary | None
    response_embedding: EmbeddingSummary | None
    flags: tuple[str, ...]
    unknown_fields: int

    def with_event(self, event: Event) -> Accepted:
        """Return the same verdict on a changed (scrubbed) event."""
        return msgspec.structs.replace(self, event=event)


class LateReason(enum.StrEnum):
    """Why a valid event is kept aside and never counted."""

    TOO_OLD = "too_old"
    IN_FUTURE = "in_future"


def is_late(timestamp_us: int, log_time_us: int, retention_seconds: int) -> LateReason | None:
    """Compare an event's time with its record's own log time, so that a replay decides as the first run did."""
    if timestamp_us < log_time_us - retention_seconds * 1_000_000:
        return LateReason.TOO_OLD
    if timestamp_us > log_time_us + MAX_CLOCK_LEAD_SECONDS * 1_000_000:
        return LateReason.IN_FUTURE
    return None


def decode_event(
    payload: bytes,
    *,
    log_time_us: int | None,
    default_event_id: DefaultEventId | None,
    limits: Limits,
) -> Accepted | Rejected:
    """Return the verdict on one event's wire JSON; never raises for any payload.

    `log_time_us` is the time of an event without a timestamp, `default_event_id` the id of one without an id, given
    as a function where it costs something; where one is None, the field is required.
    """
    size = len(payload)
    if size > limits.max_event_bytes:
        why = f"the event has more than {limits.max_event_bytes} bytes"
        return Rejected(RejectReason.TOO_LARGE, WHOLE_EVENT, why)
    try:
        event, unknown_fields = _decoded(payload, limits)
        normalise_event(event, limits, payload_bytes=size)
        return _accepted(
            event,
            timestamp_us=_timestamp_us(event, log_time_us),
            event_id=_event_id(event, default_event_id),
            unknown_fields=unknown_fields,
            may_cut=size > limits.max_text_bytes,
            limits=limits,
        )
    except RefusedError as refused:
        return refused.rejected


def _decoded(payload: bytes, limits: Limits) -> tuple[Event, int]:
    # rfind skips twice as fast as find in CPython; an escaped backslash before u0000 is cleared by the slow path.
    if payload.rfind(NUL_ESCAPE) < 0:
        try:
            return _decode(payload), 0
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    return decode_slowly(payload, max_nesting=limits.max_nesting)


def _check_text_is_there(event: Event) -> None:
    """A failed call has no answer; events of the modes without content have neither text."""
    if event.content_mode in ("features", "none"):
        return
    why = 'is required unless content_mode is "features" or "none"; it may be empty'
    if event.prompt.text is None:
        raise RefusedError(RejectReason.MISSING_FIELD, "prompt.text", why)
    if not event.errors:
        raise RefusedError(RejectReason.MISSING_FIELD, "response.text", why)


def _timestamp_us(event: Event, log_time_us: int | None) -> int:
    timestamp = event.timestamp
    if timestamp is None:
        if log_time_us is None:
            raise RefusedError(RejectReason.MISSING_FIELD, "timestamp", "is required")
        force_setattr(event, "timestamp", _from_log_time(log_time_us))
        return log_time_us
    if timestamp.tzinfo is not _UTC:
        timestamp = _utc(timestamp)
        force_setattr(event, "timestamp", timestamp)
    return (timestamp - _EPOCH) // _MICROSECOND


def _from_log_time(log_time_us: int) -> dt.datetime:
    try:
        return _EPOCH + log_time_us * _MICROSECOND
    except OverflowError:  # a Kafka producer may stamp its records with any 64-bit number
        why = "is missing, and the log time is not of the years 1 to 9999"
        raise RefusedError(RejectReason.BAD_TIMESTAMP, "timestamp", why) from None


def _utc(timestamp: dt.datetime) -> dt.datetime:
    try:
        return timestamp.replace(tzinfo=_UTC) if timestamp.tzinfo is None else timestamp.astimezone(_UTC)
    except OverflowError:
        why = "is not a time of the years 1 to 9999 in UTC"
        raise RefusedError(RejectReason.BAD_TIMESTAMP, "timestamp", why) from None


def _event_id(event: Event, default: DefaultEventId | None) -> uuid.UUID:
    if event.event_id is None:
        if default is None:
            raise RefusedError(RejectReason.MISSING_FIELD, "event_id", "is required")
        force_setattr(event, "event_id", default if isinstance(default, uuid.UUID) else default())
    elif not event.event_id.int:
        # An unset UUID of Go or .NET; events that share one would count as repeats of each other.
        raise RefusedError(RejectReason.BAD_UUID, "event_id", "is the nil UUID")
    event_id = event.event_id
    assert event_id is not None
    return event_id


def _accepted(
    event: Event, *, timestamp_us: int, event_id: uuid.UUID, unknown_fields: int, may_cut: bool, limits: Limits
) -> Accepted:
    prompt, response = event.prompt, event.response
    if prompt.text is None or response.text is None:
        _check_text_is_there(event)
    if may_cut:
        cut_part(prompt, limits)
        cut_part(response, limits)
    if prompt.embedding is not None:
        reduce_embedding(prompt, "prompt", limits)
    if response.embedding is not None:
        reduce_embedding(response, "response", limits)
    return Accepted(
        event,
        event_id,
        timestamp_us,
        original_length(prompt),
        original_length(response),
        original_sha256(prompt),
        original_sha256(response),
        embedding_summary(prompt),
        embedding_summary(response),
        _flags(event, limits),
        unknown_fields,
    )


def _flags(event: Event, limits: Limits) -> tuple[str, ...]:
    tokens = (event.prompt.tokens or 0) + (event.response.tokens or 0)
    latency_ms, cost_usd = event.latency_ms, event.cost_usd or 0.0
    # One comparison chain for the usual event, which has no flags.
    if (
        limits.min_latency_ms <= latency_ms <= limits.max_latency_ms
        and tokens <= limits.max_tokens
        and cost_usd <= limits.max_cost_usd
    ):
        return ()
    exceeded = {
        "latency_under_limit": latency_ms < limits.min_latency_ms,
        "latency_over_limit": latency_ms > limits.max_latency_ms,
        "tokens_over_limit": tokens > limits.max_tokens,
        "cost_over_limit": cost_usd > limits.max_cost_usd,
    }
    return tuple(flag for flag, holds in exceeded.items() if holds)
