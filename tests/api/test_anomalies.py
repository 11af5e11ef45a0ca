from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from detection.models import Anomaly
from ingestion.models import Event

URL = "/api/v1/anomalies"
DOCUMENTED = [
    "id",
    "timestamp",
    "service",
    "model",
    "detector",
    "metric",
    "value",
    "baseline_mean",
    "baseline_stddev",
    "z_score",
    "severity",
]
Add = Callable[..., Anomaly]


def test_has_exactly_the_documented_shape(reader: Client, add_anomaly: Add) -> None:
    anomaly = add_anomaly()
    body = reader.get(URL, {"severity": "critical", "hours": "1", "limit": "50"}).json()
    assert list(body) == ["anomalies", "count"]
    assert body["count"] == 1
    (item,) = body["anomalies"]
    assert list(item)[: len(DOCUMENTED)] == DOCUMENTED
    assert {name: item[name] for name in DOCUMENTED} == {
        "id": str(anomaly.pk),
        "timestamp": anomaly.timestamp.isoformat().replace("+00:00", "Z"),
        "service": "chat-api",
        "model": "gpt-4",
        "detector": "zscore",
        "metric": "latency_ms",
        "value": 15234.5,
        "baseline_mean": 1234.5,
        "baseline_stddev": 234.2,
        "z_score": 59.8,
        "severity": "critical",
    }


def test_an_anomaly_explains_itself(reader: Client, add_anomaly: Add) -> None:
    anomaly = add_anomaly()
    (item,) = reader.get(URL).json()["anomalies"]
    assert item["explanation"] == anomaly.explanation
    assert item["anomaly_type"] == "latency_spike"
    assert item["detection_method"] == "z_score"
    assert item["detectors"] == ["zscore", "iqr"]
    assert item["confidence"] == 0.999
    assert item["details"] == {"flat": False}
    assert item["level"] == "record"


@pytest.mark.parametrize(
    ("method", "label"), [("z_score", "zscore"), ("iqr", "iqr"), ("mad", "mad"), ("cusum", "cusum")]
)
def test_detectors_have_their_documented_names(reader: Client, add_anomaly: Add, method: str, label: str) -> None:
    add_anomaly(detection_method=method)
    (item,) = reader.get(URL).json()["anomalies"]
    assert (item["detector"], item["detection_method"]) == (label, method)


def test_what_json_cannot_hold_is_null(reader: Client, add_anomaly: Add) -> None:
    add_anomaly(z_score=None, deviation=float("inf"))
    (item,) = reader.get(URL).json()["anomalies"]
    assert (item["z_score"], item["deviation"]) == (None, None)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("critical", {"critical"}),
        ("info", {"low"}),
        ("warning", {"medium"}),
        ("HIGH", {"high"}),
        ("high,critical", {"high", "critical"}),
        ("warning, info", {"low", "medium"}),
    ],
)
def test_severity_takes_names_aliases_and_several(
    reader: Client, add_anomaly: Add, asked: str, found: set[str]
) -> None:
    for severity in ("low", "medium", "high", "critical"):
        add_anomaly(severity=severity)
    items = reader.get(URL, {"severity": asked}).json()["anomalies"]
    assert {item["severity"] for item in items} == found


@pytest.mark.parametrize(
    "query",
    [
        {"service": "search"},
        {"model": "claude"},
        {"metric": "cost_usd"},
        {"type": "cost_anomaly"},
        {"detector": "mad"},
        {"hours": "0.5"},
    ],
)
def test_each_parameter_chooses(reader: Client, add_anomaly: Add, now: datetime, query: dict[str, str]) -> None:
    wanted = add_anomaly(
        service="search", model="claude", metric="cost_usd", anomaly_type="cost_anomaly", detection_method="mad"
    )
    add_anomaly(timestamp=now - timedelta(hours=1))
    assert [item["id"] for item in reader.get(URL, query).json()["anomalies"]] == [str(wanted.pk)]


def test_a_detector_may_be_spelled_as_in_the_sdks(reader: Client, add_anomaly: Add) -> None:
    add_anomaly()
    add_anomaly(detection_method="iqr")
    for spelling in ("zscore", "z_score"):
        assert reader.get(URL, {"detector": spelling}).json()["count"] == 1


@pytest.mark.parametrize(
    ("query", "field", "reason"),
    [
        (
            {"severity": "fatal"},
            "severity",
            "'fatal' is not a severity; use one of: low, medium, high, critical, info, warning.",
        ),
        ({"severity": ""}, "severity", "This field may not be blank."),
        ({"type": "spike"}, "type", '"spike" is not a valid choice.'),
        ({"detector": "guess"}, "detector", '"guess" is not a valid choice.'),
        ({"hours": "-1"}, "hours", "Ensure this value is greater than or equal to 0.0001."),
        ({"limit": "5000"}, "limit", "Ensure this value is less than or equal to 1000."),
        ({"cursor": "x"}, "cursor", "Not a cursor of this list; take it from a `Link` header."),
        (
            {"sevrity": "low"},
            "sevrity",
            "Unknown parameter; this endpoint has: severity, hours, limit, service, model, metric, type, detector, cursor.",
        ),
    ],
)
def test_a_wrong_parameter_is_named(reader: Client, query: dict[str, str], field: str, reason: str) -> None:
    response = reader.get(URL, query)
    assert response.status_code == 400
    assert response.json()["error"] == {
        "code": "invalid_parameter",
        "message": f"{field}: {reason}",
        "fields": [{"field": field, "reason": reason}],
    }


@pytest.mark.parametrize("path", [URL, f"{URL}/recent"])
def test_pages_hold_every_anomaly_once_newest_first(reader: Client, add_anomaly: Add, now: datetime, path: str) -> None:
    same = now - timedelta(minutes=5)
    added = [add_anomaly(timestamp=same if number % 2 else now - timedelta(minutes=number)) for number in range(7)]
    found: list[str] = []
    url = f"{path}?limit=2"
    while url:
        response = reader.get(url)
        found += [item["id"] for item in response.json()["anomalies"]]
        url = response.headers.get("Link", "").removeprefix("<").partition(">")[0]
    wanted = sorted(added, key=lambda row: (row.timestamp, row.pk), reverse=True)
    assert found == [str(row.pk) for row in wanted]


def test_recent_gives_the_last_ten(reader: Client, add_anomaly: Add) -> None:
    added = [add_anomaly() for _ in range(12)]
    body = reader.get(f"{URL}/recent").json()
    assert body["count"] == 10
    assert [item["id"] for item in body["anomalies"]] == [str(row.pk) for row in added[:10]]


def test_another_projects_anomalies_are_not_shown(stranger: Client, add_anomaly: Add) -> None:
    anomaly = add_anomaly()
    assert stranger.get(URL).json() == {"anomalies": [], "count": 0}
    assert stranger.get(f"{URL}/recent").json() == {"anomalies": [], "count": 0}
    response = stranger.get(f"{URL}/{anomaly.pk}")
    assert (response.status_code, response.json()["error"]["message"]) == (404, "Anomaly not found.")


class TestOne:
    def test_comes_with_its_event(self, reader: Client, add_anomaly: Add, add_event: Callable[..., Event]) -> None:
        event = add_event()
        anomaly = add_anomaly(event_id=event.event_id, timestamp=event.timestamp)
        body = reader.get(f"{URL}/{anomaly.pk}").json()
        assert body["id"] == str(anomaly.pk)
        assert body["event"]["event_id"] == str(event.event_id)

    @pytest.mark.parametrize("event_id", [None, uuid.uuid4()])
    def test_may_have_none(self, reader: Client, add_anomaly: Add, event_id: Any) -> None:
        anomaly = add_anomaly(event_id=event_id)
        assert reader.get(f"{URL}/{anomaly.pk}").json()["event"] is None

    def test_that_does_not_exist_is_not_found(self, reader: Client) -> None:
        response = reader.get(f"{URL}/{uuid.uuid4()}")
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
