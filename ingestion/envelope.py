"""The body of `POST /api/v1/events`: one event, an array of events, or `{"events": [...], "producer": {...}}`.

The events stay raw bytes, so that a bad one is rejected alone; only a body that is no JSON at all, or of another
shape, is rejected as a whole.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from ingestion.diagnose import explained
from ingestion.headers import ProducerStamp, is_producer_id, is_valid_stamp, valid_counters
from ingestion.limits import MAX_BODY_EVENTS
from ingestion.reject import WHOLE_EVENT, RefusedError, Rejected, RejectReason


class ProducerInfo(Struct, frozen=True, gc=False):
    """The stamp of an envelope: `sequence` is that of its first event, the following ones count on from it."""

    id: str
    epoch: int
    sequence: int
    counters: dict[str, int] = {}


class HttpEnvelope(Struct, frozen=True):
    """A body with a producer's stamp."""

    events: list[Raw] | UnsetType = UNSET
    producer: Raw | UnsetType = UNSET


class Envelope(Struct, frozen=True):
    """What a body holds: the raw JSON of each event, in order, and the stamp of the first."""

    events: tuple[bytes, ...]
    producer: ProducerStamp | None
    is_single: bool

    def stamp(self, index: int) -> ProducerStamp | None:
        """Return the stamp of the event at `index`; the counters travel with the first."""
        first = self.producer
        if first is None or index == 0:
            return first
        return ProducerStamp(first.producer_id, first.epoch, first.sequence + index)


_BODY = "the body"

_decode_array = msgspec.json.Decoder(list[Raw]).decode
_decode_envelope = msgspec.json.Decoder(HttpEnvelope).decode
_decode_producer = msgspec.json.Decoder(ProducerInfo | None).decode


def split_envelope(body: bytes, *, max_events: int = MAX_BODY_EVENTS) -> Envelope | Rejected:
    """Return the events of a body without decoding them; never raises for any body.

    An object without "events" is one event, whatever else it holds. An unreadable `producer` rejects the body, as the
    sender can mend it; its counters that cannot be stored are dropped.
    """
    try:
        events, producer = _parts(body)
        if events is None:
            return Envelope((body,), None, is_single=True)
        return _envelope(events, producer, max_events)
    except msgspec.ValidationError as error:
        return explained(str(error), subject=_BODY).rejected
    except RefusedError as refused:
        return refused.rejected


def _parts(body: bytes) -> tuple[list[Raw] | None, Raw | None]:
    """Return the raw events, None for a single one, and the raw producer."""
    try:
        if body.lstrip()[:1] == b"[":
            return _decode_array(body), None
        envelope = _decode_envelope(body)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        envelope = _lenient_envelope(body)
    producer = None if envelope.producer is UNSET else envelope.producer
    return (None if envelope.events is UNSET else envelope.events), producer


def _lenient_envelope(body: bytes) -> HttpEnvelope:
    """Split what only Python calls JSON (NaN, half a surrogate pair), so that just the events that hold it fail."""
    try:
        document: Any = json.loads(body.decode(errors="surrogateescape"))
        if isinstance(document, list):
            document = {"events": document}
        return _with_raw_events(document)
    except (ValueError, RecursionError):
        raise RefusedError(RejectReason.NOT_JSON, WHOLE_EVENT, "is not valid JSON", subject=_BODY) from None


def _with_raw_events(document: Any) -> HttpEnvelope:
    if not isinstance(document, dict):
        raise RefusedError(RejectReason.WRONG_TYPE, WHOLE_EVENT, "must be an object or an array", subject=_BODY)
    events, producer = document.get("events", UNSET), document.get("producer", UNSET)
    if events is not UNSET and not isinstance(events, list):
        raise RefusedError(RejectReason.WRONG_TYPE, "events", "must be an array")
    return HttpEnvelope(
        events if events is UNSET else [_raw(event) for event in events],
        producer if producer is UNSET else _raw(producer),
    )


def _raw(document: Any) -> Raw:
    return Raw(json.dumps(document).encode())


def _envelope(events: list[Raw], producer: Raw | None, max_events: int) -> Envelope:
    if len(events) > max_events:
        raise RefusedError(RejectReason.TOO_MANY_ITEMS, "events", f"has more than {max_events} items")
    return Envelope(tuple([bytes(event) for event in events]), _stamp(producer), is_single=False)


def _stamp(raw: Raw | None) -> ProducerStamp | None:
    producer = None if raw is None else _producer(raw)
    if producer is None:
        return None
    if not is_producer_id(producer.id):
        raise RefusedError(
            RejectReason.BAD_FORMAT, "producer.id", "must be 1 to 128 of the characters A-Z a-z 0-9 . _ : / -"
        )
    stamp = ProducerStamp(producer.id, producer.epoch, producer.sequence, valid_counters(producer.counters))
    if not is_valid_stamp(stamp):
        raise RefusedError(RejectReason.OUT_OF_RANGE, "producer", "has an epoch or sequence that cannot be stored")
    return stamp


def _producer(raw: Raw) -> ProducerInfo | None:
    try:
        producer: ProducerInfo | None = _decode_producer(raw)
        return producer
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        why = "must be an object with id (text), epoch, sequence (numbers) and, if at all, counters (numbers by name)"
        raise RefusedError(RejectReason.WRONG_TYPE, "producer", why) from None
