"""Verdicts that the golden events do not show: parameters, limits, messages, and anything a sender can think of."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingestion.event import Event
from ingestion.limits import DEFAULT_LIMITS, Limits
from ingestion.validate import (
    Accepted,
    DefaultEventId,
    LateReason,
    Rejected,
    RejectReason,
    decode_event,
    encode_event,
    is_late,
)

ROOT = Path(__file__).parents[2]
LOG_TIME_US = 1_772_366_400_000_000
DEFAULT_ID = uuid.UUID("11111111-2222-3333-4444-555555555555")
EVENT: dict[str, Any] = {
    "event_id": "0f4c5b4e-2d0a-4d5e-9a57-2f6f0c1d7e11",
    "timestamp": "2026-03-01T11:59:59.25Z",
    "service_name": "chat-api",
    "model": "gpt-4",
    "prompt": {"text": "Hello", "tokens": 1},
    "response": {"text": "Hi", "tokens": 1, "finish_reason": "stop"},
    "latency_ms": 150.5,
    "cost_usd": 0.001,
    "metadata": {},
    "errors": [],
}
SECRET = "jane.doe@example.com"


def decode(
    payload: bytes,
    *,
    limits: Limits = DEFAULT_LIMITS,
    log_time_us: int | None = LOG_TIME_US,
    default_event_id: DefaultEventId | None = DEFAULT_ID,
) -> Accepted | Rejected:
    return decode_event(payload, log_time_us=log_time_us, default_event_id=default_event_id, limits=limits)


def accept(event: dict[str, Any], **options: Any) -> Accepted:
    verdict = decode(json.dumps(event).encode(), **options)
    assert isinstance(verdict, Accepted), verdict
    return verdict


def reject(event: dict[str, Any], **options: Any) -> Rejected:
    verdict = decode(json.dumps(event).encode(), **options)
    assert isinstance(verdict, Rejected), verdict
    return verdict


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in EVENT.items() if key != name}


def test_accepted_names_id_and_time() -> None:
    accepted = accept(EVENT)
    assert accepted.event_id == accepted.event.event_id == uuid.UUID(EVENT["event_id"])
    assert accepted.timestamp_us == LOG_TIME_US - 750_000


def test_missing_id_and_time_are_the_defaults() -> None:
    accepted = accept({key: EVENT[key] for key in EVENT.keys() - {"event_id", "timestamp"}})
    assert accepted.event_id == accepted.event.event_id == DEFAULT_ID
    assert accepted.timestamp_us == LOG_TIME_US
    assert accepted.event.timestamp is not None


def test_default_id_is_computed_only_where_it_is_needed() -> None:
    calls = []

    def derive() -> uuid.UUID:
        calls.append(1)
        return DEFAULT_ID

    accept(EVENT, default_event_id=derive)
    assert not calls
    assert accept(without("event_id"), default_event_id=derive).event_id == DEFAULT_ID


@pytest.mark.parametrize(("field", "option"), [("event_id", "default_event_id"), ("timestamp", "log_time_us")])
def test_without_a_default_the_field_is_required(field: str, option: str) -> None:
    verdict = reject(without(field), **{option: None})
    assert (verdict.reason, verdict.field) == (RejectReason.MISSING_FIELD, field)


@pytest.mark.parametrize("log_time_ms", [2**63 - 1, -(2**63), 253_402_300_800_000])
def test_a_log_time_beyond_the_calendar_rejects_only_events_without_a_time(log_time_ms: int) -> None:
    verdict = reject(without("timestamp"), log_time_us=log_time_ms * 1000)
    assert (verdict.reason, verdict.field) == (RejectReason.BAD_TIMESTAMP, "timestamp")
    assert accept(EVENT, log_time_us=log_time_ms * 1000).timestamp_us == LOG_TIME_US - 750_000


def test_project_limits_apply() -> None:
    limits = replace(
        DEFAULT_LIMITS, max_event_bytes=2_000, max_text_bytes=50, max_metadata_keys=1, max_metadata_bytes=10
    )
    assert reject({**EVENT, "x": "y" * 2_000}, limits=limits).reason is RejectReason.TOO_LARGE
    assert reject({**EVENT, "metadata": {"a": "", "b": ""}}, limits=limits).reason is RejectReason.TOO_MANY_KEYS
    assert reject({**EVENT, "metadata": {"a": "b" * 10}}, limits=limits).reason is RejectReason.METADATA_TOO_LARGE
    assert accept({**EVENT, "prompt": {"text": "ab " * 20}}, limits=limits).prompt_length == 60


def test_metadata_that_grows_when_flattened_is_measured_flat() -> None:
    limits = replace(DEFAULT_LIMITS, max_metadata_bytes=1_200)
    metadata = {"n" * 50: ["v"] * 30}
    assert reject({**EVENT, "metadata": metadata}, limits=limits).reason is RejectReason.METADATA_TOO_LARGE


def test_limit_in_bytes_counts_bytes_not_characters() -> None:
    metadata = {"note": "é" * 20_000}
    assert reject({**EVENT, "metadata": metadata}).reason is RejectReason.METADATA_TOO_LARGE


def test_project_may_keep_its_embeddings() -> None:
    event = {**EVENT, "prompt": {"text": "Hello", "embedding": [3.0, 4.0]}}
    kept = accept(event, limits=replace(DEFAULT_LIMITS, keep_embeddings=True))
    assert kept.event.prompt.embedding == [3.0, 4.0]
    assert kept.prompt_embedding == (2, 5.0)
    assert accept(event).event.prompt.embedding is None


@pytest.mark.parametrize("name", ["max_event_bytes", "max_text_bytes", "max_nesting", "max_metadata_keys"])
def test_limits_that_refuse_everything_are_no_limits(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Limits(**{name: 0})  # type: ignore[arg-type]


def test_a_second_cut_keeps_the_record_of_the_first() -> None:
    first = accept({**EVENT, "prompt": {"text": "ab " * 10_000}})
    grown = json.loads(encode_event(first.event))
    grown["prompt"]["text"] += " [EMAIL:b52312d13fb0]" * 10
    second = accept(grown)
    assert len((second.event.prompt.text or "").encode()) <= DEFAULT_LIMITS.max_text_bytes
    assert (second.prompt_length, second.prompt_sha256) == (first.prompt_length, first.prompt_sha256)


def test_cut_applies_to_tools_and_retrieved_context() -> None:
    text = "ab " * 5_000
    accepted = accept({**EVENT, "tool_calls": [{"arguments": {"q": text}, "result": text, "error": text}]}).event
    call = accepted.tool_calls[0]
    assert max(len(str(value)) for value in (call.arguments, call.result, call.error)) <= 10_000
    document = accept({**EVENT, "retrieved_context": [{"text": text}]}).event.retrieved_context[0]
    assert len(str(document.text)) <= 10_000


def test_with_event_keeps_the_verdict() -> None:
    accepted = accept(EVENT)
    scrubbed = Event(service_name="chat-api", model="gpt-4", latency_ms=1.0)
    changed = accepted.with_event(scrubbed)
    assert changed.event is scrubbed
    assert changed.event_id == accepted.event_id


@pytest.mark.parametrize(
    "event",
    [
        {**EVENT, "content_mode": SECRET},
        {**EVENT, "event_id": SECRET},
        {**EVENT, "timestamp": SECRET},
        {**EVENT, "metadata": {SECRET: "\0"}},
        {**EVENT, "prompt": {"text": SECRET + "\0"}},
        {**EVENT, "prompt": SECRET},
        {**EVENT, "features": {SECRET: SECRET}},
        {**EVENT, "model": SECRET * 100},
        {**EVENT, SECRET: {SECRET: "\0"}},
        {**EVENT, "metadata": {SECRET: {SECRET: {SECRET: {SECRET: {SECRET: {SECRET: SECRET}}}}}}},
        {SECRET: SECRET},
    ],
)
def test_a_verdict_names_the_field_and_never_the_content(event: dict[str, Any]) -> None:
    verdict = reject(event)
    assert SECRET not in repr(verdict)
    assert verdict.field in verdict.message or verdict.field == "$"


def test_contract_imports_no_framework() -> None:
    modules = "ingestion.envelope, ingestion.schema, ingestion.validate"
    frameworks = {"celery", "django", "kafka", "numpy", "psycopg2", "redis"}
    code = f"import sys, {modules}; sys.exit(bool({frameworks!r} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_repr_of_accepted_shows_no_content() -> None:
    assert SECRET not in repr(accept({**EVENT, "prompt": {"text": SECRET}, "metadata": {"a": SECRET}}))


@pytest.mark.parametrize(
    ("age_us", "reason"),
    [
        (0, None),
        (60_000_000, None),
        (60_000_001, LateReason.TOO_OLD),
        (-3_600_000_000, None),
        (-3_600_000_001, LateReason.IN_FUTURE),
    ],
)
def test_lateness_is_measured_against_the_log_time(age_us: int, reason: LateReason | None) -> None:
    assert is_late(LOG_TIME_US - age_us, LOG_TIME_US, 60) is reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4),
    max_leaves=12,
)
plausible = st.fixed_dictionaries(
    {},
    optional={
        name: json_values | st.text(st.characters(exclude_categories=["Cs"]), max_size=140)
        for name in Event.__struct_fields__
    },
)


@settings(max_examples=200)
@given(st.binary(max_size=200))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b'{"latency_ms": ' + b"9" * 5_000 + b"}")
def test_no_bytes_raise(payload: bytes) -> None:
    assert isinstance(decode(payload), Accepted | Rejected)


@settings(max_examples=200)
@given(json_values | plausible.map(lambda changes: {**EVENT, **changes}))
def test_no_json_raises_and_what_is_accepted_decodes_to_itself(document: Any) -> None:
    verdict = decode(json.dumps(document).encode())
    if isinstance(verdict, Accepted):
        assert_decodes_to_itself(verdict)


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
numbers = st.floats(0, 1e12)
tokens = st.none() | st.integers(0, 2**31 - 1)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words
valid_events = st.fixed_dictionaries(
    {
        "service_name": words.filter(str.strip),
        "model": st.sampled_from(["gpt-4", "openai/gpt-4", "azure/openai/x", "a/b/c", "openai/", "/", "xai/ y "]),
        "latency_ms": numbers,
        "prompt": st.fixed_dictionaries(
            {"text": words},
            optional={
                "tokens": tokens,
                "embedding": st.lists(st.floats(-1e9, 1e9), max_size=5),
                "original_length": st.none() | st.integers(0, 10**6),
            },
        ),
        "response": st.fixed_dictionaries({"text": words}, optional={"tokens": tokens, "finish_reason": words}),
    },
    optional={
        "event_id": st.uuids().map(str),
        "timestamp": st.datetimes().map(lambda time: time.isoformat()),
        "cost_usd": st.none() | numbers,
        "trace_id": words | st.text("0123456789abcdefABCDEF", max_size=40),
        "span_id": st.text("0123456789abcdefABCDEF", max_size=20),
        "metadata": st.dictionaries(
            words, st.recursive(scalars, lambda items: st.lists(items, max_size=2)), max_size=4
        ),
        "errors": st.none() | st.lists(words, max_size=3),
        "provider": st.sampled_from(["openai", "OpenAI", "xai", "my gateway"]),
        "features": st.dictionaries(words, numbers, max_size=3),
        "tool_calls": st.lists(st.fixed_dictionaries({}, optional={"name": words, "arguments": scalars}), max_size=2),
        "unheard_of": scalars,
    },
)


@settings(max_examples=200)
@given(valid_events, st.sampled_from([DEFAULT_LIMITS, replace(DEFAULT_LIMITS, max_text_bytes=20)]))
def test_valid_events_are_accepted_and_decode_to_themselves(document: dict[str, Any], limits: Limits) -> None:
    verdict = decode(json.dumps(document).encode(), limits=limits)
    if isinstance(verdict, Rejected):
        assert verdict.reason is RejectReason.TOO_DEEP  # lists of lists of metadata
        return
    assert verdict.unknown_fields == ("unheard_of" in document)
    assert_decodes_to_itself(verdict, limits)


def assert_decodes_to_itself(accepted: Accepted, limits: Limits = DEFAULT_LIMITS) -> None:
    again = decode(encode_event(accepted.event), limits=limits, log_time_us=None, default_event_id=None)
    assert isinstance(again, Accepted)
    assert again == msgspec.structs.replace(accepted, unknown_fields=0)
