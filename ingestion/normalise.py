"""Bring a freshly decoded event into its normal form, in place.

Nobody else has seen the event yet, so changing the frozen struct is safe and saves a copy of forty fields. Each change
stands behind the cheapest condition that can rule it out. Lengths are bounded by the payload's: decoded text has never
more UTF-8 bytes than the JSON that it came from.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import force_setattr

from ingestion.cut import cut_text
from ingestion.event import Event, ToolCall
from ingestion.flatten import flat_metadata, is_deeper, json_text
from ingestion.limits import Limits
from ingestion.naming import SPAN_ID_DIGITS, TRACE_ID_DIGITS, hex_id, provider_name, split_model
from ingestion.reject import RefusedError, RejectReason

_LEVELS_AROUND_TOOL_VALUES = 3  # the event, the list of calls, the call


def normalise_event(event: Event, limits: Limits, *, payload_bytes: int) -> None:
    """Normalise everything but the time, the id and the content of prompt and response; raise `RefusedError`."""
    _normalise_names(event)
    _normalise_ids(event)
    metadata: object = event.metadata  # None on the wire means empty, also for the errors
    if metadata:
        _normalise_metadata(event, limits, payload_bytes)
    elif metadata is None:
        force_setattr(event, "metadata", {})
    errors: object = event.errors
    if errors is None:
        force_setattr(event, "errors", ())
    elif errors and payload_bytes > limits.max_text_bytes:
        cut = [cut_text(text, max_bytes=limits.max_text_bytes) for text in event.errors]
        force_setattr(event, "errors", tuple(cut))
    if event.tool_calls or event.retrieved_context:
        _normalise_tools(event, limits)


def _normalise_names(event: Event) -> None:
    service, model = event.service_name.strip(), event.model.strip()
    if service is not event.service_name:
        _replace_name(event, "service_name", service)
    if model is not event.model:
        _replace_name(event, "model", model)
    if event.provider is not None:
        force_setattr(event, "provider", provider_name(event.provider))
    if "/" in model:
        _split_model(event, model)


def _replace_name(event: Event, field: str, name: str) -> None:
    if not name:
        raise RefusedError(RejectReason.EMPTY_FIELD, field, "must not be empty")
    force_setattr(event, field, name)


def _split_model(event: Event, model: str) -> None:
    bare, provider = split_model(model)
    if provider is None:
        return
    force_setattr(event, "model", bare)
    if event.requested_model is None:
        force_setattr(event, "requested_model", model)
    if event.provider is None:
        force_setattr(event, "provider", provider)


def _normalise_ids(event: Event) -> None:
    """Skip ids of full length in lower case, which hex or not are what they should be."""
    trace, span, parent = event.trace_id, event.span_id, event.parent_span_id
    if trace is not None and (len(trace) != TRACE_ID_DIGITS or trace != trace.lower()):
        force_setattr(event, "trace_id", hex_id(trace, digits=TRACE_ID_DIGITS))
    if span is not None and (len(span) != SPAN_ID_DIGITS or span != span.lower()):
        force_setattr(event, "span_id", hex_id(span, digits=SPAN_ID_DIGITS))
    if parent is not None and (len(parent) != SPAN_ID_DIGITS or parent != parent.lower()):
        force_setattr(event, "parent_span_id", hex_id(parent, digits=SPAN_ID_DIGITS))


def _normalise_metadata(event: Event, limits: Limits, payload_bytes: int) -> None:
    metadata = event.metadata
    try:
        "".join(metadata.values())  # the cheapest way to ask whether all are text
    except TypeError:
        metadata = flat_metadata(metadata, max_depth=limits.max_metadata_depth)
        force_setattr(event, "metadata", metadata)
        _check_metadata_bytes(metadata, limits)
    if len(metadata) > limits.max_metadata_keys:
        why = f"has more than {limits.max_metadata_keys} keys"
        raise RefusedError(RejectReason.TOO_MANY_KEYS, "metadata", why)
    if payload_bytes > limits.max_metadata_bytes:
        _check_metadata_bytes(metadata, limits)


def _check_metadata_bytes(metadata: dict[str, str], limits: Limits) -> None:
    size = sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())
    if size > limits.max_metadata_bytes:
        why = f"has more than {limits.max_metadata_bytes} bytes"
        raise RefusedError(RejectReason.METADATA_TOO_LARGE, "metadata", why)


def _normalise_tools(event: Event, limits: Limits) -> None:
    for index, call in enumerate(event.tool_calls):
        for field in ("arguments", "result", "error"):
            value = getattr(call, field)
            if value is not None:
                _normalise_tool_value(call, field, value, index, limits)
    for document in event.retrieved_context:
        if document.text is not None:
            force_setattr(document, "text", cut_text(document.text, max_bytes=limits.max_text_bytes))


def _normalise_tool_value(call: ToolCall, field: str, value: Any, index: int, limits: Limits) -> None:
    if is_deeper(value, limits.max_nesting - _LEVELS_AROUND_TOOL_VALUES):
        raise RefusedError(RejectReason.TOO_DEEP, f"tool_calls[{index}].{field}", "is nested too deeply")
    force_setattr(call, field, cut_text(json_text(value), max_bytes=limits.max_text_bytes))
