"""The JSON Schema of the event, for SDK authors: `python -m ingestion.schema > sdk/schema/event.schema.json`.

It is derived from the structs that decode, and then widened to what `decode_event` takes: unknown fields are ignored
and a null stands for a default. What a schema cannot say is left to the golden events (`sdk/conformance`).
"""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec

from ingestion.event import Event
from ingestion.limits import DEFAULT_LIMITS

_TITLE = "Sentinel telemetry event"
_BEYOND_THE_SCHEMA = (
    f"One LLM call. At most {DEFAULT_LIMITS.max_event_bytes} bytes, nested at most {DEFAULT_LIMITS.max_nesting} levels; "
    "no \\u0000, no half of a surrogate pair, no NaN or infinity anywhere. Metadata has at most "
    f"{DEFAULT_LIMITS.max_metadata_keys} names once flattened, {DEFAULT_LIMITS.max_metadata_depth} levels and "
    f"{DEFAULT_LIMITS.max_metadata_bytes} bytes. Texts above {DEFAULT_LIMITS.max_text_bytes} bytes are cut, head and "
    "tail kept. Unknown fields are ignored and counted. Integers are written without a fraction."
)
_WITHOUT_CONTENT = {"properties": {"content_mode": {"enum": ["features", "none"]}}, "required": ["content_mode"]}
_FAILED = {"properties": {"errors": {"type": "array", "minItems": 1}}, "required": ["errors"]}


def event_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) of one event."""
    _, definitions = msgspec.json.schema_components([Event], ref_template="#/$defs/{name}")
    for definition in definitions.values():
        _widen(definition)
    event = definitions.pop("Event")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **event,
        "title": _TITLE,
        "description": _BEYOND_THE_SCHEMA,
        "anyOf": [_WITHOUT_CONTENT, _with_text("prompt")],
        "allOf": [{"anyOf": [_WITHOUT_CONTENT, _FAILED, _with_text("response")]}],
        "$defs": definitions,
    }


def _with_text(side: str) -> dict[str, Any]:
    text = {"properties": {"text": {"type": "string"}}, "required": ["text"], "type": "object"}
    return {"properties": {side: text}, "required": [side]}


def _widen(definition: dict[str, Any]) -> None:
    definition.pop("additionalProperties", None)
    required = definition.get("required", [])
    for name, field in definition["properties"].items():
        if name not in required:
            definition["properties"][name] = _nullable(field)


def _nullable(field: dict[str, Any]) -> dict[str, Any]:
    if not field.keys() & {"type", "anyOf", "$ref", "enum"}:
        return field  # any JSON value
    if field.get("type") == "null" or {"type": "null"} in field.get("anyOf", []) or None in field.get("enum", []):
        return field
    said: dict[str, Any] = {name: field[name] for name in ("description", "default") if name in field}
    kept = {name: value for name, value in field.items() if name not in said}
    return {**said, "anyOf": [kept, {"type": "null"}]}


def main() -> None:
    """Write the schema to standard output."""
    json.dump(event_schema(), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
