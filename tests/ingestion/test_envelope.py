"""A body gives its events one by one, so that a bad one is rejected alone."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.envelope import Envelope, split_envelope
from ingestion.headers import ProducerStamp
from ingestion.limits import DEFAULT_LIMITS
from ingestion.validate import Rejected, RejectReason, decode_event

EVENT = b'{"service_name":"s","model":"m","latency_ms":1,"content_mode":"none"}'
PRODUCER = {"id": "web-1", "epoch": 7, "sequence": 40, "counters": {"sent": 40}}


def split(body: bytes) -> Envelope:
    envelope = split_envelope(body)
    assert isinstance(envelope, Envelope), envelope
    return envelope


def refuse(body: bytes) -> Rejected:
    verdict = split_envelope(body)
    assert isinstance(verdict, Rejected)
    return verdict


def reasons(envelope: Envelope) -> list[str | None]:
    verdicts = [
        decode_event(event, log_time_us=0, default_event_id=uuid.uuid4, limits=DEFAULT_LIMITS)
        for event in envelope.events
    ]
    return [verdict.reason if isinstance(verdict, Rejected) else None for verdict in verdicts]


def test_one_object_is_one_event() -> None:
    envelope = split(b" " + EVENT)
    assert (envelope.events, envelope.producer, envelope.is_single) == ((b" " + EVENT,), None, True)


def test_an_array_holds_events_in_order() -> None:
    envelope = split(b"[" + EVENT + b", 5, []]")
    assert envelope.events == (EVENT, b"5", b"[]")
    assert not envelope.is_single


def test_an_envelope_holds_events_and_the_stamp_of_the_first() -> None:
    envelope = split(b'{"producer": ' + json.dumps(PRODUCER).encode() + b', "events": [' + EVENT + b"," + EVENT + b"]}")
    assert len(envelope.events) == 2
    assert envelope.stamp(0) == ProducerStamp("web-1", 7, 40, {"sent": 40})
    assert envelope.stamp(1) == ProducerStamp("web-1", 7, 41)


def test_a_counter_whose_name_may_be_personal_data_is_dropped() -> None:
    counters = {"sent": 1, "ada@example.com": 2}
    envelope = split(json.dumps({"events": [], "producer": PRODUCER | {"counters": counters}}).encode())
    assert envelope.producer == ProducerStamp("web-1", 7, 40, {"sent": 1})


@pytest.mark.parametrize("body", [b"[]", b'{"events": []}', b'{"events": [], "producer": null, "other": 1}'])
def test_a_body_may_hold_no_event(body: bytes) -> None:
    assert split(body).events == ()


def test_an_unknown_field_named_producer_is_part_of_a_single_event() -> None:
    body = EVENT[:-1] + b',"producer":"kafka"}'
    assert split(body).events == (body,)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"latency_ms": NaN}', RejectReason.NOT_FINITE),
        (b'{"latency_ms": 1e999}', RejectReason.NOT_FINITE),
        (b'{"model": "\\ud800"}', RejectReason.LONE_SURROGATE),
        (b'{"model": "\\u0000"}', RejectReason.NUL_CHARACTER),
        (b'{"model": "\xff"}', RejectReason.NOT_UTF8),
        (b'{"model": "m"}', RejectReason.MISSING_FIELD),
        (b'"text"', RejectReason.WRONG_TYPE),
        (b'{"future": ' + b"[" * 30 + b"]" * 30 + b"}", RejectReason.TOO_DEEP),
        (b'{"prompt": {"text": "' + b"a" * 1_000_000 + b'"}}', RejectReason.TOO_LARGE),
    ],
)
@pytest.mark.parametrize("form", [b"[%s]", b'{"events": [%s]}'])
def test_a_bad_event_is_rejected_alone(bad: bytes, reason: RejectReason, form: bytes) -> None:
    assert reasons(split(form % b",".join([EVENT, bad, EVENT]))) == [None, reason, None]


@pytest.mark.parametrize(
    ("body", "reason", "field"),
    [
        (b"", RejectReason.NOT_JSON, "$"),
        (b"[{", RejectReason.NOT_JSON, "$"),
        (b'{"events": [}', RejectReason.NOT_JSON, "$"),
        (b"\xff\xfe", RejectReason.NOT_JSON, "$"),
        (b"[" * 100_000, RejectReason.NOT_JSON, "$"),
        (b'"text"', RejectReason.WRONG_TYPE, "$"),
        (b"NaN", RejectReason.WRONG_TYPE, "$"),
        (b'{"events": 5}', RejectReason.WRONG_TYPE, "events"),
        (b'{"events": NaN}', RejectReason.WRONG_TYPE, "events"),
        (b'{"events": null}', RejectReason.WRONG_TYPE, "events"),
        (b'{"events": [], "producer": 5}', RejectReason.WRONG_TYPE, "producer"),
        (b'{"events": [], "producer": {"id": "a"}}', RejectReason.WRONG_TYPE, "producer"),
        (b'{"events": [], "producer": {"id": "", "epoch": 1, "sequence": 1}}', RejectReason.BAD_FORMAT, "producer.id"),
        (
            b'{"events": [], "producer": {"id": "a@b.co", "epoch": 1, "sequence": 1}}',
            RejectReason.BAD_FORMAT,
            "producer.id",
        ),
        (b'{"events": [], "producer": {"id": "a", "epoch": -1, "sequence": 1}}', RejectReason.OUT_OF_RANGE, "producer"),
    ],
)
def test_a_body_of_another_shape_is_rejected_whole(body: bytes, reason: RejectReason, field: str) -> None:
    verdict = refuse(body)
    assert (verdict.reason, verdict.field) == (reason, field)


def test_a_body_with_too_many_events_is_rejected_with_the_limit() -> None:
    verdict = split_envelope(b"[1,2,3]", max_events=2)
    assert verdict == Rejected(RejectReason.TOO_MANY_ITEMS, "events", "events has more than 2 items")


@settings(max_examples=100)
@given(
    st.binary(max_size=100)
    | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_no_body_raises(body: bytes) -> None:
    assert isinstance(split_envelope(body), Envelope | Rejected)


@given(st.dictionaries(st.sampled_from(["events", "producer", "x"]), st.none() | st.integers() | st.lists(st.floats())))
def test_no_envelope_raises(document: dict[str, Any]) -> None:
    assert isinstance(split_envelope(json.dumps(document).encode()), Envelope | Rejected)
