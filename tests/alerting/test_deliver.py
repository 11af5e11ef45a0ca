from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from prometheus_client import REGISTRY

from alerting.candidate import AlertCandidate
from alerting.channels.base import Alert, Channel, ChannelError, Receipt, Target
from alerting.channels.webhook import WebhookChannel
from alerting.claim import LEASE, WAIT, claim_due
from alerting.deliver import MAX_ABANDONED_CLAIMS, Courier, send_again, send_test
from alerting.models import AlertClaim, AlertRule, DeliveryAttempt, OutboxEntry
from alerting.outbox import Enqueued
from alerting.reasons import FailureReason
from alerting.signature import verify, verify_body
from tests.alerting.conftest import ManualClock
from tests.alerting.receiver import Answer, Receiver
from tests.alerting.secrecy import SECRET, assert_leaks_no_secret

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


def test_a_failed_attempt_is_repeated_after_one_two_and_four_seconds_and_then_given_up(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, patient_courier: Courier, clock: ManualClock
) -> None:
    with Receiver(Answer(500)) as receiver:
        make_rule(channel="webhook", webhook_url=receiver.url, webhook_secret=SECRET, max_attempts=4)
        put(make_candidate())
        for attempt, delay in enumerate([1, 2, 4], start=1):
            assert deliver_due(patient_courier) == 1
            entry = OutboxEntry.objects.get()
            assert (entry.status, entry.attempts) == ("pending", attempt)
            assert entry.next_attempt_at == clock() + timedelta(seconds=delay)
            clock.advance(delay - 0.01)
            assert deliver_due(patient_courier) == 0
            clock.advance(0.01)
        assert deliver_due(patient_courier) == 1

    entry = OutboxEntry.objects.get()
    assert (entry.status, entry.failure_reason, entry.attempts) == ("failed", "server_error", 4)
    outcomes = DeliveryAttempt.objects.order_by("number").values_list("number", "outcome", "status_code")
    assert list(outcomes) == [(1, "retry", 500), (2, "retry", 500), (3, "retry", 500), (4, "failed", 500)]
    # Released: the next anomaly of the window may alert.
    assert not AlertClaim.objects.exists()


def test_repeats_carry_the_same_id_and_body_with_a_new_timestamp_and_a_valid_signature(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, patient_courier: Courier, clock: ManualClock
) -> None:
    with Receiver(Answer(503), Answer(204)) as receiver:
        make_rule(channel="webhook", webhook_url=receiver.url, webhook_secret=SECRET)
        put(make_candidate())
        deliver_due(patient_courier)
        clock.advance(2)
        deliver_due(patient_courier)

    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 2
    verify(second.headers, second.body, secret=SECRET, now_seconds=clock().timestamp())
    hashes = DeliveryAttempt.objects.values_list("body_sha256", flat=True)
    assert set(hashes) == {hashlib.sha256(first.body).hexdigest()}


def test_retry_after_postpones_the_next_attempt(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, patient_courier: Courier, clock: ManualClock
) -> None:
    with Receiver(Answer(429, headers={"Retry-After": "120"})) as receiver:
        make_rule(channel="webhook", webhook_url=receiver.url, webhook_secret=SECRET)
        put(make_candidate())
        deliver_due(patient_courier)

    entry = OutboxEntry.objects.get()
    assert (entry.status, entry.failure_reason) == ("pending", "rate_limited")
    assert entry.next_attempt_at == clock() + timedelta(seconds=120)


def test_a_permanent_failure_is_not_repeated_and_releases_the_window(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, patient_courier: Courier
) -> None:
    with Receiver(Answer(400), Answer(204)) as receiver:
        make_rule(channel="webhook", webhook_url=receiver.url, webhook_secret=SECRET)
        put(make_candidate())
        deliver_due(patient_courier)
        assert OutboxEntry.objects.get().status == "failed"

        put(make_candidate())
        deliver_due(patient_courier)

    assert sorted(OutboxEntry.objects.values_list("status", flat=True)) == ["delivered", "failed"]


def test_when_the_first_alert_of_a_batch_fails_for_good_its_first_repeat_is_delivered(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, patient_courier: Courier, clock: ManualClock
) -> None:
    with Receiver(Answer(400), Answer(204)) as receiver:
        make_rule(channel="webhook", webhook_url=receiver.url, webhook_secret=SECRET)
        batch = put_three_of_one_window(make_candidate, put)
        for _ in range(3):
            deliver_due(patient_courier)
            clock.advance(WAIT.total_seconds())

    sent = [json.loads(request.body)["anomaly"]["id"] for request in receiver.requests]
    assert sent == [str(anomaly.anomaly_id) for anomaly in batch[:2]]
    assert statuses_by_time() == [("failed", ""), ("delivered", ""), ("suppressed", "duplicate_in_window")]


def test_when_the_first_alert_of_a_batch_is_delivered_its_repeats_never_are(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, patient_courier: Courier, clock: ManualClock
) -> None:
    with Receiver() as receiver:
        make_rule(channel="webhook", webhook_url=receiver.url, webhook_secret=SECRET)
        batch = put_three_of_one_window(make_candidate, put)
        for _ in range(3):
            deliver_due(patient_courier)
            clock.advance(WAIT.total_seconds())

    (request,) = receiver.requests
    assert json.loads(request.body)["anomaly"]["id"] == str(batch[0].anomaly_id)
    repeat = ("suppressed", "duplicate_in_window")
    assert statuses_by_time() == [("delivered", ""), repeat, repeat]


def put_three_of_one_window(make_candidate: MakeCandidate, put: Put) -> Sequence[AlertCandidate]:
    """Put three anomalies into the outbox as one batch; return them in the order of their time."""
    first = make_candidate()
    batch = [first] + [make_candidate(timestamp=first.timestamp + timedelta(seconds=n)) for n in (1, 2)]
    put(*batch)
    return batch


def statuses_by_time() -> list[tuple[str, str]]:
    return list(OutboxEntry.objects.order_by("anomaly_timestamp").values_list("status", "suppression_reason"))


def test_410_disables_the_rule_and_says_so(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, patient_courier: Courier
) -> None:
    with Receiver(Answer(410)) as receiver:
        rule = make_rule(channel="webhook", webhook_url=receiver.url, webhook_secret=SECRET)
        put(make_candidate(), make_candidate(service="search-api"))
        for entry in claim_due(limit=1, now=patient_courier.clock()).entries:
            patient_courier.deliver(entry)
        deliver_due(patient_courier)

    rule.refresh_from_db()
    assert (rule.enabled, rule.disabled_reason) == (False, "gone")
    assert len(receiver.requests) == 1
    assert sorted(OutboxEntry.objects.values_list("status", flat=True)) == ["failed", "suppressed"]


def test_410_of_a_url_that_was_replaced_meanwhile_leaves_the_rule_enabled(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, patient_courier: Courier
) -> None:
    def replace_url() -> None:
        AlertRule.objects.update(webhook_url="https://hooks.example.com/new")
        connection.close()

    with Receiver(Answer(410, before=replace_url)) as receiver:
        rule = make_rule(channel="webhook", webhook_url=receiver.url, webhook_secret=SECRET)
        put(make_candidate())
        deliver_due(patient_courier)

    rule.refresh_from_db()
    assert rule.enabled


def test_an_alert_whose_worker_died_after_sending_is_sent_again_with_the_same_id(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, patient_courier: Courier, clock: ManualClock
) -> None:
    class Died(BaseException):
        """Stands for kill -9: passes every handler."""

    class DyingWebhook(WebhookChannel):
        def send(self, alert: Alert, target: Target, *, now: datetime) -> Receipt:
            super().send(alert, target, now=now)
            raise Died

    with Receiver() as receiver:
        make_rule(channel="webhook", webhook_url=receiver.url, webhook_secret=SECRET)
        put(make_candidate())
        with pytest.raises(Died):
            deliver_due(replace(patient_courier, channels={"webhook": DyingWebhook()}))
        assert deliver_due(patient_courier) == 0
        clock.advance(LEASE.total_seconds())
        assert deliver_due(patient_courier) == 1

    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    entry = OutboxEntry.objects.get()
    # The worker's death is not the receiver's fault: it costs no attempt.
    assert (entry.status, entry.claims, entry.attempts) == ("delivered", 2, 1)


def test_an_alert_that_kills_every_worker_is_given_up(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, patient_courier: Courier, clock: ManualClock
) -> None:
    make_rule()
    put(make_candidate())
    for _ in range(MAX_ABANDONED_CLAIMS):
        assert len(claim_due(limit=1, now=clock()).entries) == 1
        clock.advance(LEASE.total_seconds())
    deliver_due(patient_courier)

    entry = OutboxEntry.objects.get()
    assert (entry.status, entry.failure_reason) == ("failed", "abandoned")


def test_a_worker_that_lost_its_lease_changes_nothing(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, patient_courier: Courier, clock: ManualClock
) -> None:
    make_rule()
    put(make_candidate())
    (stale,) = claim_due(limit=1, now=clock()).entries
    clock.advance(LEASE.total_seconds())
    (current,) = claim_due(limit=1, now=clock()).entries

    patient_courier.deliver(stale)
    assert OutboxEntry.objects.get().status == "claimed"
    assert not DeliveryAttempt.objects.exists()

    patient_courier.deliver(current)
    assert OutboxEntry.objects.get().status == "delivered"


class FailingChannel(Channel):
    """Fails with what it is given."""

    name = "webhook"

    def __init__(self, error: Exception) -> None:
        self._error = error

    def send(self, alert: Alert, target: Target, *, now: datetime) -> Receipt:
        raise self._error


@pytest.mark.parametrize("reason", list(FailureReason))
def test_every_reason_goes_to_the_row_the_log_and_the_metric(
    reason: FailureReason,
    make_rule: MakeRule,
    make_candidate: MakeCandidate,
    put: Put,
    patient_courier: Courier,
    caplog: pytest.LogCaptureFixture,
) -> None:
    make_rule(channel="webhook", webhook_url="https://hooks.example.com/?token=url-token", webhook_secret=SECRET)
    put(make_candidate())
    labels = {"channel": "webhook", "reason": reason.value}
    before = REGISTRY.get_sample_value("sentinel_alert_failures_total", labels) or 0.0
    failing = FailingChannel(ChannelError(reason, permanent=True, status_code=418))
    caplog.set_level(logging.INFO)

    deliver_due(replace(patient_courier, channels={"webhook": failing}))

    entry, attempt = OutboxEntry.objects.get(), DeliveryAttempt.objects.get()
    assert (entry.status, entry.failure_reason) == ("failed", reason)
    assert (attempt.outcome, attempt.failure_reason, attempt.status_code) == ("failed", reason, 418)
    assert f"'reason': '{reason.value}'" in caplog.text
    assert REGISTRY.get_sample_value("sentinel_alert_failures_total", labels) == before + 1
    assert_leaks_no_secret(failing, log=caplog)


def test_a_mistake_in_a_channel_is_an_internal_error_that_is_repeated_and_whose_text_is_not_logged(
    make_rule: MakeRule,
    make_candidate: MakeCandidate,
    put: Put,
    patient_courier: Courier,
    caplog: pytest.LogCaptureFixture,
) -> None:
    make_rule(channel="webhook", webhook_url="https://hooks.example.com/?token=url-token", webhook_secret=SECRET)
    put(make_candidate())
    failing = FailingChannel(RuntimeError(f"cannot sign with {SECRET} for url-token"))

    deliver_due(replace(patient_courier, channels={"webhook": failing}))

    entry = OutboxEntry.objects.get()
    assert (entry.status, entry.failure_reason) == ("pending", "internal_error")
    assert "alert_internal_error" in caplog.text
    assert_leaks_no_secret(log=caplog)


def test_when_the_scrubber_fails_nothing_is_sent(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, patient_courier: Courier
) -> None:
    def broken(texts: Sequence[str]) -> Sequence[str]:
        raise RuntimeError("no engine")

    with Receiver() as receiver:
        make_rule(channel="webhook", webhook_url=receiver.url, webhook_secret=SECRET)
        put(make_candidate())
        deliver_due(replace(patient_courier, scrub=broken))

    assert receiver.requests == []
    assert OutboxEntry.objects.get().failure_reason == "internal_error"


def test_a_rule_whose_channel_this_version_does_not_know_is_a_named_failure(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, patient_courier: Courier
) -> None:
    make_rule(channel="pigeon")
    put(make_candidate())
    deliver_due(patient_courier)

    assert OutboxEntry.objects.get().failure_reason == "unknown_channel"


def test_a_secret_that_is_replaced_during_retries_signs_along_with_the_new_one(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, patient_courier: Courier, clock: ManualClock
) -> None:
    with Receiver(Answer(500), Answer(204)) as receiver:
        rule = make_rule(channel="webhook", webhook_url=receiver.url, webhook_secret=SECRET)
        put(make_candidate())
        deliver_due(patient_courier)
        rule.replace_secret("a new secret of enough bytes", now=clock())
        rule.save()
        clock.advance(2)
        deliver_due(patient_courier)

    request = receiver.requests[1]
    for secret in (SECRET, "a new secret of enough bytes"):
        verify(request.headers, request.body, secret=secret, now_seconds=clock().timestamp())


def test_an_operator_can_have_a_failed_alert_tried_once_more(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, patient_courier: Courier, clock: ManualClock
) -> None:
    with Receiver(Answer(400), Answer(204)) as receiver:
        make_rule(channel="webhook", webhook_url=receiver.url, webhook_secret=SECRET)
        put(make_candidate())
        deliver_due(patient_courier)
        entry = OutboxEntry.objects.get()

        assert send_again([entry.id], now=clock()) == 1
        deliver_due(patient_courier)
        assert send_again([entry.id], now=clock()) == 0

    assert OutboxEntry.objects.get().status == "delivered"


def test_a_test_alert_is_sent_at_once_whatever_the_window_holds(make_rule: MakeRule, patient_courier: Courier) -> None:
    with Receiver() as receiver:
        rule = make_rule(channel="webhook", webhook_url=receiver.url, webhook_secret=SECRET, enabled=False)
        entries = [send_test(rule, courier=patient_courier) for _ in range(2)]

    assert [entry.status for entry in entries] == ["delivered", "delivered"]
    assert {json.loads(request.body)["type"] for request in receiver.requests} == {"sentinel.test"}
    assert not AlertClaim.objects.exists()


def test_two_workers_send_one_alert_per_window(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, courier: Courier
) -> None:
    start = threading.Barrier(3)

    def worker() -> None:
        try:
            start.wait()
            deadline = time.monotonic() + 10
            while OutboxEntry.objects.filter(status__in=["pending", "claimed"]).exists():
                deliver_due(courier)
                assert time.monotonic() < deadline
        finally:
            connection.close()

    with Receiver(Answer(204, delay_seconds=0.02)) as receiver:
        make_rule(channel="webhook", webhook_url=receiver.url, webhook_secret=SECRET)
        for _ in range(6):
            put(*[make_candidate(service=f"service-{n}") for n in range(5)])
        threads = [threading.Thread(target=worker) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    sent = [json.loads(request.body)["anomaly"]["service"] for request in receiver.requests]
    assert sorted(sent) == [f"service-{n}" for n in range(5)]
    assert AlertClaim.objects.filter(acknowledged_at__isnull=False).count() == 5
    assert OutboxEntry.objects.filter(suppression_reason="duplicate_in_window").count() == 25
