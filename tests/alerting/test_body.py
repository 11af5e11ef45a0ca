from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pytest

from alerting.body import render
from alerting.candidate import AlertCandidate
from alerting.deliver import scrub_texts
from alerting.models import AlertRule, OutboxEntry
from alerting.outbox import Enqueued

pytestmark = pytest.mark.django_db(transaction=True)

MakeRule = Callable[..., AlertRule]
MakeCandidate = Callable[..., AlertCandidate]
Put = Callable[..., Enqueued]


def unchanged(texts: Sequence[str]) -> Sequence[str]:
    return texts


def test_the_body_has_the_documented_keys(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, settings: Any
) -> None:
    settings.SENTINEL_PUBLIC_URL = "https://sentinel.example.com/"
    rule = make_rule(name="Pages")
    anomaly = make_candidate(details={"z_score": 5.5})
    put(anomaly)
    entry = OutboxEntry.objects.get()

    alert = render(entry, rule, scrub=unchanged)

    body = json.loads(alert.body)
    assert list(body) == [
        "id", "type", "version", "timestamp", "project", "rule", "anomaly", "explanation", "links",
    ]  # fmt: skip
    assert (body["id"], body["type"], body["version"]) == (str(entry.id), "sentinel.anomaly", 1)
    assert datetime.fromisoformat(body["timestamp"]) == entry.created_at
    assert body["project"] == "shop"
    assert body["rule"] == {"id": rule.pk, "name": "Pages"}
    assert body["anomaly"] == {
        "id": str(anomaly.anomaly_id),
        "event_id": str(anomaly.event_id),
        "timestamp": anomaly.timestamp.isoformat().replace("+00:00", "Z"),
        "anomaly_type": "latency_spike",
        "severity": "high",
        "service": "chat-api",
        "model": "gpt-4o",
        "metric": "latency_ms",
        "detection_method": "z_score",
        "observed": 9000.0,
        "expected": 800.0,
        "confidence": 0.99,
        "details": {"z_score": 5.5},
    }
    assert body["explanation"] == alert.explanation == anomaly.explanation
    link = f"https://sentinel.example.com/admin/detection/anomaly/{anomaly.anomaly_id}/change/"
    assert body["links"] == {"admin": link}


def test_every_string_that_is_not_ours_passes_the_scrubber(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put
) -> None:
    rule = make_rule(name="for bob@example.com")
    details = {"note": "bob@example.com", "deep": [{"er": "bob@example.com"}], "count": 3}
    put(make_candidate(service="bob@example.com", explanation="Ask bob@example.com.", details=details))
    entry = OutboxEntry.objects.get()

    alert = render(entry, rule, scrub=scrub_texts)

    assert b"bob@" not in alert.body
    assert "bob@" not in f"{alert.service} {alert.rule_name} {alert.explanation}"
    body = json.loads(alert.body)
    assert body["explanation"] == "Ask [EMAIL]."
    assert body["anomaly"]["details"] == {"note": "[EMAIL]", "deep": [{"er": "[EMAIL]"}], "count": 3}
    assert body["id"] == str(entry.id)
