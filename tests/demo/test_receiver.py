"""The demo's receiver trusts a signature and nothing else."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from alerting.signature import HEADER_SENTINEL_SIGNATURE, new_secret, sign
from sentinel.demo.receiver import Receiver

SECRET = new_secret()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(SECRET) as running:
        yield running


def alert(webhook_id: str, *, timestamp: str = "2026-01-02T03:04:05Z", service: str = "chat-api") -> bytes:
    anomaly = {
        "id": f"anomaly-of-{webhook_id}",
        "timestamp": timestamp,
        "anomaly_type": "latency_spike",
        "severity": "high",
        "service": service,
        "model": "gpt-4o",
    }
    return json.dumps({"id": webhook_id, "project": "default", "anomaly": anomaly, "explanation": "Slow."}).encode()


def post(receiver: Receiver, body: bytes, headers: dict[str, str], *, path: str | None = None) -> int:
    url = receiver.url if path is None else receiver.url.replace("/alerts", path)
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def signed(webhook_id: str, body: bytes, *, secret: str = SECRET, age_seconds: int = 0) -> dict[str, str]:
    now = int(time.time()) - age_seconds
    return sign(webhook_id=webhook_id, timestamp_seconds=now, body=body, secrets=[secret])


def test_a_signed_alert_is_remembered(receiver: Receiver) -> None:
    body = alert("a")
    assert post(receiver, body, signed("a", body)) == 204
    (found,) = receiver.alerts
    assert (found.service, found.model, found.anomaly_type, found.explanation) == (
        "chat-api",
        "gpt-4o",
        "latency_spike",
        "Slow.",
    )
    assert receiver.new_alerts() == [found]
    assert receiver.new_alerts() == []


def test_another_secret_is_refused(receiver: Receiver) -> None:
    body = alert("a")
    assert post(receiver, body, signed("a", body, secret=new_secret())) == 401
    assert list(receiver.alerts) == []
    assert receiver.refused == {"no signature matches": 1}


def test_a_changed_body_is_refused(receiver: Receiver) -> None:
    assert post(receiver, alert("b"), signed("a", alert("a"))) == 401


def test_both_signatures_must_match(receiver: Receiver) -> None:
    body = alert("a")
    assert post(receiver, body, signed("a", body) | {HEADER_SENTINEL_SIGNATURE: "00"}) == 401
    headers = signed("a", body)
    del headers[HEADER_SENTINEL_SIGNATURE]
    assert post(receiver, body, headers) == 401


def test_an_old_request_is_refused(receiver: Receiver) -> None:
    body = alert("a")
    assert post(receiver, body, signed("a", body, age_seconds=3_600)) == 401


def test_a_signed_body_that_is_no_alert_is_refused(receiver: Receiver) -> None:
    assert post(receiver, b"[]", signed("a", b"[]")) == 400


def test_another_path_is_not_found(receiver: Receiver) -> None:
    body = alert("a")
    assert post(receiver, body, signed("a", body), path="/other") == 404


def test_a_repeated_delivery_counts_once(receiver: Receiver) -> None:
    body = alert("a")
    for _ in range(2):
        assert post(receiver, body, signed("a", body)) == 204
    assert len(receiver.alerts) == 1
    assert len(receiver.new_alerts()) == 1
    assert list(receiver.doubles) == []


def test_two_alerts_of_one_series_type_and_window_are_a_double(receiver: Receiver) -> None:
    in_window = {"a": "2026-01-02T03:04:05Z", "b": "2026-01-02T03:01:00Z", "c": "2026-01-02T03:05:01Z"}
    for name, timestamp in in_window.items():
        body = alert(name, timestamp=timestamp)
        assert post(receiver, body, signed(name, body)) == 204
    assert len(receiver.doubles) == 1
    assert len(receiver.alerts) == 3
