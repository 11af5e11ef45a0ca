from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from ingestion.models import Event, Project, Series

URL = "/api/v1/telemetry"
AddEvent = Callable[..., Event]


def pages(client: Client, url: str) -> list[dict[str, Any]]:
    found = []
    while url:
        response = client.get(url)
        assert response.status_code == 200, response.content
        found.append(response.json())
        link = re.fullmatch(r'<(.*)>; rel="next"', response.headers.get("Link", ""))
        url = link[1] if link else ""
    return found


def test_has_exactly_the_documented_shape(reader: Client, add_event: AddEvent) -> None:
    add_event()
    body = reader.get(URL, {"service": "chat-api", "model": "gpt-4", "hours": "24"}).json()
    assert list(body) == ["data", "count", "timeRange"]
    assert body["count"] == len(body["data"]) == 1
    assert list(body["timeRange"]) == ["start", "end"]
    start, end = (datetime.fromisoformat(body["timeRange"][name]) for name in ("start", "end"))
    assert end - start == timedelta(hours=24)


def test_an_event_looks_as_sdks_send_it(reader: Client, add_event: AddEvent) -> None:
    event = add_event(
        prompt_text="[EMAIL]", prompt_length=7, finish_reason="stop", metadata={"key": "value"}, ttft_ms=9.5
    )
    (item,) = reader.get(URL).json()["data"]
    assert item == {
        "event_id": str(event.event_id),
        "timestamp": event.timestamp.isoformat().replace("+00:00", "Z"),
        "service_name": "chat-api",
        "model": "gpt-4",
        "trace_id": None,
        "span_id": None,
        "prompt": {"text": "[EMAIL]", "tokens": 10, "length": 7},
        "response": {"text": None, "tokens": 20, "length": None, "finish_reason": "stop"},
        "latency_ms": 150.5,
        "cost_usd": 0.001,
        "metadata": {"key": "value"},
        "errors": [],
        "total_tokens": 30,
        "sample_weight": 1.0,
        "ingested_at": event.ingested_at.isoformat().replace("+00:00", "Z"),
        "ttft_ms": 9.5,
    }


def test_without_events_the_answer_is_empty(reader: Client) -> None:
    body = reader.get(URL).json()
    assert (body["data"], body["count"]) == ([], 0)


def test_service_and_model_choose(reader: Client, add_event: AddEvent) -> None:
    for service in ("chat-api", "search"):
        for model in ("gpt-4", "claude"):
            add_event(service=service, model=model)

    def names(**query: str) -> set[tuple[str, str]]:
        return {(item["service_name"], item["model"]) for item in reader.get(URL, query).json()["data"]}

    assert len(names()) == 4
    assert names(service="search") == {("search", "gpt-4"), ("search", "claude")}
    assert names(model="claude") == {("search", "claude"), ("chat-api", "claude")}
    assert names(service="search", model="claude") == {("search", "claude")}
    assert names(service="mail") == set()


def test_hours_bound_the_time(reader: Client, add_event: AddEvent, now: datetime) -> None:
    add_event(timestamp=now - timedelta(minutes=20))
    add_event(timestamp=now - timedelta(hours=3))
    assert reader.get(URL, {"hours": "0.5"}).json()["count"] == 1
    assert reader.get(URL, {"hours": "4"}).json()["count"] == 2


def test_the_default_bound_is_the_projects_retention(reader: Client, project: Project) -> None:
    project.retention_days = 7
    project.save()
    window = reader.get(URL).json()["timeRange"]
    start, end = (datetime.fromisoformat(window[name]) for name in ("start", "end"))
    assert end - start == timedelta(days=7)


def test_pages_hold_every_event_once_newest_first(reader: Client, add_event: AddEvent, now: datetime) -> None:
    same_time = now - timedelta(minutes=2)
    added = [
        add_event(service=f"s{i % 3}", timestamp=same_time if i % 2 else None or now - timedelta(hours=i))
        for i in range(11)
    ]
    found = pages(reader, f"{URL}?limit=3")
    ids = [item["event_id"] for page in found for item in page["data"]]
    wanted = sorted(added, key=lambda event: (event.timestamp, event.event_id), reverse=True)
    assert ids == [str(event.event_id) for event in wanted]
    assert [page["count"] for page in found] == [3, 3, 3, 2]
    assert len({str(page["timeRange"]) for page in found}) == 1


def test_the_link_keeps_the_other_parameters(reader: Client, add_event: AddEvent) -> None:
    add_event(service="a b")
    add_event(service="a b")
    link = reader.get(URL, {"service": "a b", "limit": "1"}).headers["Link"]
    assert link.startswith("<http://testserver/api/v1/telemetry?service=a+b&limit=1&cursor=")


def test_another_projects_events_are_not_shown(stranger: Client, add_event: AddEvent) -> None:
    add_event()
    assert stranger.get(URL, {"service": "chat-api", "model": "gpt-4"}).json()["count"] == 0


def test_the_same_event_id_in_two_projects_stays_apart(
    reader: Client, add_event: AddEvent, other_project: Project
) -> None:
    event = add_event()
    add_event(event_id=event.event_id, timestamp=event.timestamp, project=other_project, latency_ms=1.0)
    assert [item["latency_ms"] for item in reader.get(URL).json()["data"]] == [150.5]


def test_a_series_beyond_the_cap_is_found_by_its_full_name(reader: Client, add_event: AddEvent) -> None:
    add_event(scored=False)
    Series.objects.all().delete()
    assert reader.get(URL, {"service": "chat-api", "model": "gpt-4"}).json()["count"] == 1


@pytest.mark.parametrize(
    ("query", "field", "reason"),
    [
        ({"hours": "0"}, "hours", "Ensure this value is greater than or equal to 0.0001."),
        ({"hours": "1000000000"}, "hours", "Ensure this value is less than or equal to 87840."),
        ({"hours": "nan"}, "hours", "A valid number is required."),
        ({"hours": "inf"}, "hours", "A valid number is required."),
        ({"hours": "yesterday"}, "hours", "A valid number is required."),
        ({"hours": "99999"}, "hours", "Ensure this value is less than or equal to 87840."),
        ({"limit": "0"}, "limit", "Ensure this value is greater than or equal to 1."),
        ({"limit": "1001"}, "limit", "Ensure this value is less than or equal to 1000."),
        ({"limit": "ten"}, "limit", "A valid integer is required."),
        ({"service": ""}, "service", "This field may not be blank."),
        ({"service": "\x00"}, "service", "Null characters are not allowed."),
        ({"model": "m" * 201}, "model", "Ensure this field has no more than 200 characters."),
        ({"cursor": "bm9uc2Vuc2U"}, "cursor", "Not a cursor of this list; take it from a `Link` header."),
        ({"cursor": "€"}, "cursor", "Not a cursor of this list; take it from a `Link` header."),
        ({"since": "1"}, "since", "Unknown parameter; this endpoint has: service, model, hours, limit, cursor."),
        ({"limit": ["1", "2"]}, "limit", "Given more than once."),
    ],
)
def test_a_wrong_parameter_is_named(reader: Client, query: dict[str, Any], field: str, reason: str) -> None:
    response = reader.get(URL, query)
    assert response.status_code == 400
    assert response.json() == {
        "error": {
            "code": "invalid_parameter",
            "message": f"{field}: {reason}",
            "fields": [{"field": field, "reason": reason}],
        }
    }


def test_a_cursor_of_another_list_is_refused(reader: Client, add_dead_letter: Callable[..., Any]) -> None:
    add_dead_letter()
    add_dead_letter()
    link = reader.get("/api/v1/dead-letters?limit=1").headers["Link"]
    cursor = re.search(r"cursor=([^&>]*)", link)
    assert cursor is not None
    assert reader.get(URL, {"cursor": cursor[1]}).status_code == 400


def test_an_id_that_was_never_sent_is_not_needed_to_page(reader: Client, add_event: AddEvent, now: datetime) -> None:
    """Rows that arrive between two pages move nothing: the position is a key, not a count."""
    for minutes in range(1, 5):
        add_event(timestamp=now - timedelta(minutes=minutes))
    first = reader.get(URL, {"limit": 2})
    add_event(event_id=uuid.uuid4(), timestamp=now)
    match = re.fullmatch(r"<(.*)>.*", first.headers["Link"])
    assert match is not None
    second = reader.get(match[1]).json()
    ids = [item["event_id"] for item in first.json()["data"] + second["data"]]
    assert len(ids) == len(set(ids)) == 4
