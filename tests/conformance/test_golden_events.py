"""The server keeps to the golden events that every SDK is tested with."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import Any

import jsonschema
import pytest

from ingestion.event import Event, encode_event
from ingestion.limits import DEFAULT_LIMITS
from ingestion.schema import event_schema
from ingestion.validate import Accepted, Rejected, RejectReason, decode_event, is_late
from tests.conformance.golden import golden_payload, read_golden

VALID = read_golden("valid.jsonl")
INVALID = read_golden("invalid.jsonl")
LATE = read_golden("late.jsonl")
DEFAULT_ID = uuid.UUID("11111111-2222-3333-4444-555555555555")

REASONS_OF_THE_SCHEMA = {
    RejectReason.MISSING_FIELD,
    RejectReason.WRONG_TYPE,
    RejectReason.OUT_OF_RANGE,
    RejectReason.UNKNOWN_VALUE,
    RejectReason.TOO_LONG,
    RejectReason.TOO_MANY_ITEMS,
    RejectReason.BAD_FORMAT,
}
BEYOND_THE_SCHEMA = {"tokens written as a float", "no timestamp over HTTP"}


def microseconds(text: str) -> int:
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (dt.datetime.fromisoformat(text) - epoch) // dt.timedelta(microseconds=1)


def verdict_on(golden: dict[str, Any]) -> Accepted | Rejected:
    over_http = golden.get("transport") == "http"
    return decode_event(
        golden_payload(golden),
        log_time_us=None if over_http else microseconds(golden["log_time"]),
        default_event_id=DEFAULT_ID,
        limits=DEFAULT_LIMITS,
    )


def accepted(golden: dict[str, Any]) -> Accepted:
    verdict = verdict_on(golden)
    assert isinstance(verdict, Accepted), verdict
    return verdict


def value_at(event: Event, path: str) -> object:
    value: Any = event
    for part in path.split("."):
        value = getattr(value, part)
    return json.loads(json.dumps(value, default=to_wire))


def to_wire(value: object) -> object:
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, uuid.UUID):
        return str(value)
    fields = {name: getattr(value, name) for name in value.__struct_fields__}  # type: ignore[attr-defined]
    return {name: item for name, item in fields.items() if item is not None}


def by_name(golden: dict[str, Any]) -> str:
    return str(golden["name"])


@pytest.mark.parametrize("golden", VALID, ids=by_name)
def test_valid_golden_event_is_accepted_in_its_normal_form(golden: dict[str, Any]) -> None:
    verdict, expect = accepted(golden), golden["expect"]
    for path, expected in expect["normalised"].items():
        if path == "event_id" and expected is None:
            expected = str(DEFAULT_ID)
        assert value_at(verdict.event, path) == expected, path
    assert list(verdict.flags) == expect["flags"]
    assert verdict.unknown_fields == expect["unknown_fields"]


@pytest.mark.parametrize("golden", VALID, ids=by_name)
def test_valid_golden_event_keeps_what_was_cut_and_reduced(golden: dict[str, Any]) -> None:
    verdict, expect = accepted(golden), golden["expect"]
    for field in expect.keys() & {"prompt_length", "response_length"}:
        assert getattr(verdict, field) == expect[field]
    for field in expect.keys() & {"prompt_sha256", "response_sha256"}:
        digest = getattr(verdict, field)
        assert (digest and digest.hex()) == expect[field]
    for field in expect.keys() & {"prompt_embedding", "response_embedding"}:
        assert getattr(verdict, field) == (expect[field] and pytest.approx(tuple(expect[field])))


@pytest.mark.parametrize("golden", VALID, ids=by_name)
def test_valid_golden_event_decodes_to_itself_once_normalised(golden: dict[str, Any]) -> None:
    first = accepted(golden)
    again = decode_event(encode_event(first.event), log_time_us=None, default_event_id=None, limits=DEFAULT_LIMITS)
    assert isinstance(again, Accepted)
    assert again.event == first.event
    assert again.prompt_length == first.prompt_length
    assert again.prompt_sha256 == first.prompt_sha256
    assert again.response_embedding == first.response_embedding


@pytest.mark.parametrize("golden", INVALID, ids=by_name)
def test_invalid_golden_event_is_rejected_with_its_reason_and_field(golden: dict[str, Any]) -> None:
    verdict = verdict_on(golden)
    assert isinstance(verdict, Rejected)
    expect = golden["expect"]
    assert (verdict.reason, verdict.field) == (expect["reason"], expect["field"]), verdict.message


@pytest.mark.parametrize("golden", LATE, ids=by_name)
def test_late_golden_event_is_late_by_its_own_log_time(golden: dict[str, Any]) -> None:
    verdict, expect = accepted(golden), golden["expect"]
    late = is_late(verdict.timestamp_us, microseconds(golden["log_time"]), golden["retention_seconds"])
    assert late == expect.get("reason")


@pytest.mark.parametrize("golden", VALID, ids=by_name)
def test_schema_admits_every_valid_golden_event(golden: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(event_schema()).validate(json.loads(golden_payload(golden)))


@pytest.mark.parametrize(
    "golden",
    [
        golden
        for golden in INVALID
        if golden["expect"]["reason"] in REASONS_OF_THE_SCHEMA and golden["name"] not in BEYOND_THE_SCHEMA
    ],
    ids=by_name,
)
def test_schema_refuses_what_a_schema_can_refuse(golden: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(event_schema()).validate(json.loads(golden_payload(golden)))


def test_every_reason_has_a_golden_event() -> None:
    assert {golden["expect"]["reason"] for golden in INVALID} == set(RejectReason)


def test_no_two_golden_events_share_a_name() -> None:
    names = [golden["name"] for golden in (*VALID, *INVALID, *LATE)]
    assert len(names) == len(set(names))
