"""The structs of the wire: complete names, no content in their repr."""

from __future__ import annotations

import uuid

import msgspec
import pytest

from ingestion.event import Event, PromptInfo, ResponseInfo, RetrievedDocument, ToolCall, encode_event

EVENT = Event(
    event_id=uuid.UUID(int=1),
    service_name="chat-api",
    model="gpt-4",
    prompt=PromptInfo(text="my secret prompt", tokens=3),
    response=ResponseInfo(text="my secret answer", tokens=3, finish_reason="stop"),
    latency_ms=1.0,
    metadata={"note": "my secret note"},
    errors=("my secret error",),
    user_id="my secret name",
    tool_calls=(ToolCall(name="search", arguments="my secret query", result="my secret result"),),
    retrieved_context=(RetrievedDocument(id="doc-1", text="my secret document"),),
)


def test_repr_shows_no_content() -> None:
    shown = [
        repr(EVENT),
        repr(EVENT.prompt),
        repr(EVENT.response),
        repr(EVENT.tool_calls),
        f"{EVENT.retrieved_context}",
    ]
    assert "secret" not in "".join(shown)
    assert "chat-api" in shown[0]


def test_documented_names_come_first_and_in_the_documented_order() -> None:
    documented = [
        "event_id", "timestamp", "service_name", "model", "trace_id", "span_id", "prompt", "response", "latency_ms",
        "cost_usd", "metadata", "errors",
    ]  # fmt: skip
    assert list(Event.__struct_fields__[: len(documented)]) == documented


def test_encoded_event_decodes_to_the_same() -> None:
    assert msgspec.json.decode(encode_event(EVENT), type=Event) == EVENT


def test_encoded_event_leaves_out_defaults() -> None:
    event = Event(service_name="s", model="m", latency_ms=1.5)
    assert msgspec.json.decode(encode_event(event)).keys() - {"prompt", "response"} == {
        "service_name",
        "model",
        "latency_ms",
    }


def test_event_is_frozen() -> None:
    with pytest.raises(AttributeError):
        EVENT.model = "gpt-5"  # type: ignore[misc]
