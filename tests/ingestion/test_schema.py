"""The schema that SDK authors read is the one of the code."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from ingestion.event import Event
from ingestion.schema import event_schema, main

EXPORTED = Path(__file__).parents[2] / "sdk" / "schema" / "event.schema.json"


def test_exported_schema_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    current = capsys.readouterr().out
    assert EXPORTED.read_text(encoding="utf-8") == current, (
        "run: python -m ingestion.schema > sdk/schema/event.schema.json"
    )


def test_schema_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(event_schema())


def test_schema_names_every_field_and_ignores_others() -> None:
    schema = event_schema()
    assert set(schema["properties"]) == set(Event.__struct_fields__)
    assert all("additionalProperties" not in part for part in (schema, *schema["$defs"].values()))


def test_only_service_model_and_latency_are_always_required() -> None:
    assert set(event_schema()["required"]) == {"service_name", "model", "latency_ms"}
