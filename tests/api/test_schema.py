"""What OpenAPI says is what is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from django.test import Client
from django.urls import URLPattern, get_resolver
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from detection.models import Anomaly
from ingestion.models import DeadLetter, Event


@pytest.fixture(scope="module")
def schema() -> Any:
    GENERATOR_STATS.reset()
    return SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]


def as_json_schema(node: Any, components: Any) -> Any:
    """Return OpenAPI 3.0 as JSON Schema: references inlined, `nullable` as a type."""
    if isinstance(node, list):
        return [as_json_schema(item, components) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return as_json_schema(components[node["$ref"].rpartition("/")[2]], components)
    kept = {key: as_json_schema(value, components) for key, value in node.items() if key != "nullable"}
    return {"anyOf": [kept, {"type": "null"}]} if node.get("nullable") is True else kept


def check(schema: Any, path: str, method: str, response: Any) -> None:
    documented = schema["paths"][path][method]["responses"]
    content = documented[str(response.status_code)]["content"]["application/json"]["schema"]
    jsonschema.validate(response.json(), as_json_schema(content, schema["components"]["schemas"]))


def test_the_document_is_valid_and_complete(schema: Any) -> None:
    validate_schema(schema)  # type: ignore[no-untyped-call]
    assert not GENERATOR_STATS._warn_cache
    assert not GENERATOR_STATS._error_cache
    routes = {f"/{item.pattern}" for item in get_resolver().url_patterns if isinstance(item, URLPattern)}
    documented = {path.replace("{id}", "<uuid:pk>") for path in schema["paths"]}
    assert len(documented) == len([route for route in routes if route.startswith("/api/v1/")])


def test_every_endpoint_has_a_summary_a_description_and_an_example(schema: Any) -> None:
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            assert operation["description"], path
            assert operation["security"], path
            assert "examples" in str(operation["responses"]), path


@pytest.mark.parametrize("path", ["telemetry", "anomalies", "anomalies/recent", "dead-letters", "baselines"])
def test_lists_answer_as_documented(
    schema: Any,
    reader: Client,
    path: str,
    add_event: Callable[..., Event],
    add_anomaly: Callable[..., Anomaly],
    add_dead_letter: Callable[..., DeadLetter],
) -> None:
    add_event(ttft_ms=1.5, flags=["latency_over_limit"], prompt_embedding={"dimension": 3, "norm": 1.0})
    add_anomaly()
    add_anomaly(z_score=None, event_id=None)
    add_dead_letter()
    check(schema, f"/api/v1/{path}", "get", reader.get(f"/api/v1/{path}"))


def test_one_anomaly_answers_as_documented(
    schema: Any, reader: Client, add_event: Callable[..., Event], add_anomaly: Callable[..., Anomaly]
) -> None:
    event = add_event()
    anomaly = add_anomaly(event_id=event.event_id, timestamp=event.timestamp)
    path = "/api/v1/anomalies/{id}"
    check(schema, path, "get", reader.get(f"/api/v1/anomalies/{anomaly.pk}"))


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("telemetry?limit=0", {}, 400),
        ("telemetry", {"X-API-Key": "x"}, 401),
        ("dead-letters?limit=0", {}, 400),
    ],
)
def test_errors_answer_as_documented(
    schema: Any, reader: Client, path: str, headers: dict[str, str], status: int
) -> None:
    response = Client().get(f"/api/v1/{path}", headers=headers) if headers else reader.get(f"/api/v1/{path}")
    assert response.status_code == status
    check(schema, f"/api/v1/{path.partition('?')[0]}", "get", response)


@pytest.mark.usefixtures("inbox")
@pytest.mark.parametrize("status", [202, 400, 415, 422])
def test_sending_events_answers_as_documented(schema: Any, sender: Client, status: int) -> None:
    good = schema["paths"]["/api/v1/events"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    body = {202: good["ABatch"]["value"], 400: [], 415: b"", 422: {"service_name": "chat-api"}}[status]
    content_type = "text/plain" if status == 415 else "application/json"
    response = sender.post("/api/v1/events", body, content_type=content_type)
    assert response.status_code == status, response.content
    check(schema, "/api/v1/events", "post", response)


@pytest.mark.usefixtures("inbox")
def test_a_replay_answers_as_documented(
    schema: Any, administrator: Client, add_dead_letter: Callable[..., DeadLetter]
) -> None:
    letter = add_dead_letter()
    for status in (200, 409):
        response = administrator.post(f"/api/v1/dead-letters/{letter.pk}/replay")
        assert response.status_code == status
        check(schema, "/api/v1/dead-letters/{id}/replay", "post", response)


def test_the_documents_open_without_a_key_and_without_another_site(client: Client) -> None:
    assert client.get("/api/schema").status_code == 200
    page = client.get("/api/docs").content.decode()
    assert "swagger-ui-bundle.js" in page
    assert "cdn" not in page
    assert 'src="http' not in page
