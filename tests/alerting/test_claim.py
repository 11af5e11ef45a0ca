from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection, transaction

from alerting.candidate import AlertCandidate
from alerting.claim import LEASE, WAIT, claim_due
from alerting.models import AlertClaim, AlertRule, OutboxEntry
from alerting.outbox import Enqueued
from tests.alerting.conftest import ManualClock

pytestmark = pytest.mark.django_db(transaction=True)

MakeRule = Callable[..., AlertRule]
MakeCandidate = Callable[..., AlertCandidate]
Put = Callable[..., Enqueued]


def claimed_ids(clock: ManualClock, *, limit: int = 10) -> set[uuid.UUID]:
    return {entry.id for entry in claim_due(limit=limit, now=clock()).entries}


def statuses() -> dict[object, str]:
    return dict(OutboxEntry.objects.values_list("anomaly_id", "status"))


def test_a_claimed_entry_has_a_lease_and_is_not_claimed_again(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, clock: ManualClock
) -> None:
    make_rule()
    put(make_candidate())

    (entry,) = claim_due(limit=10, now=clock()).entries

    stored = OutboxEntry.objects.get()
    assert (stored.status, stored.lease_until, stored.claims) == ("claimed", clock() + LEASE, 1)
    assert entry.claims == 1
    assert claimed_ids(clock) == set()


def test_an_entry_whose_worker_died_is_claimed_again_after_its_lease(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, clock: ManualClock
) -> None:
    make_rule()
    put(make_candidate())
    (first,) = claim_due(limit=10, now=clock()).entries

    clock.advance(LEASE.total_seconds() - 1)
    assert claimed_ids(clock) == set()
    clock.advance(1)
    (second,) = claim_due(limit=10, now=clock()).entries

    assert (second.id, second.claims) == (first.id, 2)


def test_no_more_than_the_limit_is_claimed_and_the_oldest_first(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, clock: ManualClock
) -> None:
    make_rule()
    put(*[make_candidate(service=f"service-{n}") for n in range(5)])
    oldest = OutboxEntry.objects.order_by("id").first()
    assert oldest is not None
    OutboxEntry.objects.filter(id=oldest.id).update(next_attempt_at=clock() - timedelta(hours=1))

    assert claimed_ids(clock, limit=1) == {oldest.id}
    assert len(claimed_ids(clock, limit=2)) == 2
    assert len(claimed_ids(clock, limit=10)) == 2


def test_entries_that_another_worker_has_locked_are_passed_over(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, clock: ManualClock
) -> None:
    make_rule()
    put(make_candidate(), make_candidate(service="search-api"))
    seen: list[int] = []

    def other_worker() -> None:
        seen.append(len(claim_due(limit=10, now=clock()).entries))
        connection.close()

    with transaction.atomic():
        OutboxEntry.objects.select_for_update().filter(service="chat-api").get()
        thread = threading.Thread(target=other_worker)
        thread.start()
        thread.join()

    assert seen == [1]


def test_a_repeat_of_an_acknowledged_alert_is_suppressed(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, clock: ManualClock
) -> None:
    make_rule()
    put(make_candidate())
    assert len(claimed_ids(clock)) == 1
    OutboxEntry.objects.update(status="delivered")
    AlertClaim.objects.update(acknowledged_at=clock())

    repeat = make_candidate()
    put(repeat)

    claimed = claim_due(limit=10, now=clock())
    assert (claimed.scanned, list(claimed.entries)) == (1, [])
    entry = OutboxEntry.objects.get(anomaly_id=repeat.anomaly_id)
    assert (entry.status, entry.suppression_reason, entry.settled_at) == ("suppressed", "duplicate_in_window", clock())


def test_while_the_alert_is_being_sent_one_repeat_waits_and_the_others_are_suppressed(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, clock: ManualClock
) -> None:
    make_rule()
    put(make_candidate())
    claimed_ids(clock)
    for _ in range(3):
        put(make_candidate())

    assert claimed_ids(clock) == set()
    assert sorted(statuses().values()) == ["claimed", "pending", "suppressed", "suppressed"]
    waiting = OutboxEntry.objects.get(status="pending")
    assert waiting.next_attempt_at == clock() + WAIT

    # It goes on waiting, and only it.
    clock.advance(WAIT.total_seconds())
    assert claimed_ids(clock) == set()
    assert OutboxEntry.objects.get(status="pending").id == waiting.id


def test_when_the_alert_is_given_up_the_repeat_that_waits_is_sent(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, clock: ManualClock
) -> None:
    make_rule()
    put(make_candidate())
    claimed_ids(clock)
    repeat = make_candidate()
    put(repeat)
    claimed_ids(clock)
    OutboxEntry.objects.filter(status="claimed").update(status="failed")
    AlertClaim.objects.all().delete()

    clock.advance(WAIT.total_seconds())

    (entry,) = claim_due(limit=10, now=clock()).entries
    assert entry.anomaly_id == repeat.anomaly_id


def test_the_next_window_alerts_again(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, clock: ManualClock
) -> None:
    make_rule()
    first = make_candidate()
    put(first)
    put(make_candidate(timestamp=first.timestamp - timedelta(seconds=1)))

    assert len(claimed_ids(clock)) == 2


@pytest.mark.parametrize(("delete", "reason"), [(False, "rule_disabled"), (True, "rule_deleted")])
def test_entries_of_a_rule_that_is_no_longer_in_force_are_suppressed_with_the_reason(
    delete: bool, reason: str, make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, clock: ManualClock
) -> None:
    rule = make_rule()
    put(make_candidate())
    if delete:
        rule.delete()
    else:
        AlertRule.objects.update(enabled=False)

    assert claimed_ids(clock) == set()
    entry = OutboxEntry.objects.get()
    assert (entry.status, entry.suppression_reason) == ("suppressed", reason)
    assert not AlertClaim.objects.exists()


def test_workers_that_claim_at_the_same_time_share_the_windows_without_overlap_or_deadlock(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, clock: ManualClock
) -> None:
    make_rule()
    make_rule(cooldown_seconds=60)
    for _ in range(4):
        put(*[make_candidate(service=f"service-{n}") for n in range(40)])
    claimed: list[uuid.UUID] = []
    errors: list[Exception] = []
    start = threading.Barrier(4)
    deadline = time.monotonic() + 20

    def worker() -> None:
        try:
            start.wait()
            # A round finds nothing while the others hold the rows.
            while len(claimed) < 80 and time.monotonic() < deadline:
                claimed.extend(claimed_ids(clock, limit=10))
        except Exception as error:  # noqa: BLE001  # shown by the assertion
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert len(claimed) == len(set(claimed)) == 80
    windows = OutboxEntry.objects.filter(id__in=claimed).values_list("rule_id", "service").distinct()
    assert windows.count() == 80
