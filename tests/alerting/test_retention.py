from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY

from alerting.candidate import AlertCandidate
from alerting.claim import claim_due
from alerting.deliver import Courier
from alerting.models import AlertClaim, AlertRule, DeliveryAttempt, OutboxEntry
from alerting.outbox import Enqueued
from alerting.retention import drop_expired, measure_outbox

pytestmark = pytest.mark.django_db(transaction=True)


def test_settled_entries_go_with_their_attempts_and_claims_but_what_waits_stays(
    make_rule: Callable[..., AlertRule],
    make_candidate: Callable[..., AlertCandidate],
    put: Callable[..., Enqueued],
    courier: Courier,
) -> None:
    make_rule()
    put(make_candidate())
    for entry in claim_due(limit=1, now=courier.clock()).entries:
        courier.deliver(entry)
    put(make_candidate(service="waits"))
    now = datetime.now(UTC)

    assert drop_expired(now=now, retention_days=30) == 0
    assert drop_expired(now=now + timedelta(days=31), retention_days=30) == 2

    assert [entry.service for entry in OutboxEntry.objects.all()] == ["waits"]
    assert not DeliveryAttempt.objects.exists()
    assert not AlertClaim.objects.exists()


def test_the_gauges_say_how_many_entries_wait_and_how_old_the_oldest_is(
    make_rule: Callable[..., AlertRule], make_candidate: Callable[..., AlertCandidate], put: Callable[..., Enqueued]
) -> None:
    make_rule()
    # The third of a window is suppressed, and does not count.
    put(make_candidate(service="search-api"), *[make_candidate() for _ in range(3)])
    created_at = OutboxEntry.objects.earliest("created_at").created_at

    measure_outbox(now=created_at + timedelta(seconds=40))
    assert REGISTRY.get_sample_value("sentinel_outbox_depth") == 3
    assert REGISTRY.get_sample_value("sentinel_outbox_oldest_seconds") == pytest.approx(40, abs=0.5)

    OutboxEntry.objects.update(status="delivered")
    measure_outbox(now=created_at)
    assert REGISTRY.get_sample_value("sentinel_outbox_depth") == 0
    assert REGISTRY.get_sample_value("sentinel_outbox_oldest_seconds") == 0
