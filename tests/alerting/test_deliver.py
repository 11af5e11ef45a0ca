from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from alerting.candidate import AlertCandidate
from alerting.claim import claim_due
from alerting.deliver import Courier
from alerting.models import AlertClaim, AlertRule, DeliveryAttempt, OutboxEntry
from alerting.outbox import Enqueued
from alerting.signature import verify, verify_body
from tests.alerting.conftest import SECRET
from tests.alerting.receiver import Receiver

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("allow_loopback")]

MakeRule = Callable[..., AlertRule]
MakeCandidate = Callable[..., AlertCandidate]
Put = Callable[..., Enqueued]


def deliver_due(courier: Courier) -> int:
    """Do what a worker's loop does once; return how many alerts were sent or tried."""
    entries = claim_due(limit=10, now=courier.clock()).entries
    for entry in entries:
        courier.deliver(entry)
    return len(entries)


def test_an_alert_arrives_signed_and_its_outcome_is_stored(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, courier: Courier
) -> None:
    with Receiver() as receiver:
        make_rule(channel="webhook", webhook_url=receiver.url, webhook_secret=SECRET)
        candidate = make_candidate()
        put(candidate)
        assert deliver_due(courier) == 1

    (request,) = receiver.requests
    entry = OutboxEntry.objects.get()
    assert entry.status == "delivered"
    now = datetime.now(UTC).timestamp()
    assert verify(request.headers, request.body, secret=SECRET, now_seconds=now) == str(entry.id)
    assert verify_body(request.headers["X-Sentinel-Signature"], request.body, secret=SECRET)
    body = json.loads(request.body)
    assert body["id"] == str(entry.id)
    assert body["anomaly"]["id"] == str(candidate.anomaly_id)
    assert body["explanation"] == candidate.explanation
    attempt = DeliveryAttempt.objects.get()
    assert (attempt.outcome, attempt.status_code, attempt.number) == ("delivered", 204, 1)
    assert AlertClaim.objects.get().acknowledged_at is not None
