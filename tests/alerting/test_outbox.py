from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg2
import pytest
from django.db import connection, transaction

from alerting.candidate import AlertCandidate
from alerting.models import AlertRule, OutboxEntry
from alerting.outbox import Enqueued, enqueue, entry_id
from alerting.reasons import SuppressionReason
from alerting.rules import load_rules
from ingestion.models.project import Project

pytestmark = pytest.mark.django_db(transaction=True)

MakeRule = Callable[..., AlertRule]
MakeCandidate = Callable[..., AlertCandidate]
Put = Callable[..., Enqueued]


def test_a_matching_anomaly_gets_one_entry_per_rule(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put
) -> None:
    rules = [make_rule(), make_rule(), make_rule(min_severity="critical")]
    anomaly = make_candidate(severity="high")

    assert put(anomaly) == Enqueued(pending=2)

    entries = {entry.rule_id: entry for entry in OutboxEntry.objects.all()}
    assert set(entries) == {rules[0].pk, rules[1].pk}
    entry = entries[rules[0].pk]
    assert entry.id == uuid.uuid5(anomaly.anomaly_id, str(rules[0].pk))
    assert (entry.status, entry.service, entry.severity) == ("pending", "chat-api", "high")
    assert entry.anomaly["explanation"] == anomaly.explanation
    assert entry.anomaly_timestamp == anomaly.timestamp


def test_a_batch_that_is_applied_again_adds_nothing(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put
) -> None:
    make_rule()
    anomalies = [make_candidate(), make_candidate()]
    put(*anomalies)
    OutboxEntry.objects.update(status="delivered")

    assert put(*anomalies).total == 0
    assert set(OutboxEntry.objects.values_list("status", flat=True)) == {"delivered"}


def test_nothing_is_left_of_a_transaction_that_is_rolled_back(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put
) -> None:
    make_rule()
    with transaction.atomic():
        put(make_candidate())
        transaction.set_rollback(True)

    assert not OutboxEntry.objects.exists()


def test_of_one_window_in_one_batch_the_earliest_two_are_pending_and_the_others_suppressed(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put
) -> None:
    make_rule()
    first = make_candidate()
    later = [make_candidate(timestamp=first.timestamp + timedelta(seconds=n)) for n in (3, 2, 1)]

    assert put(*later, first) == Enqueued(pending=2, suppressed={SuppressionReason.DUPLICATE_IN_WINDOW: 2})

    pending = OutboxEntry.objects.filter(status="pending").order_by("anomaly_timestamp")
    assert [entry.anomaly_id for entry in pending] == [first.anomaly_id, later[-1].anomaly_id]
    # Either may be sent.
    assert [entry.anomaly["id"] for entry in pending] == [str(first.anomaly_id), str(later[-1].anomaly_id)]
    repeats = OutboxEntry.objects.filter(status="suppressed")
    assert set(repeats.values_list("suppression_reason", flat=True)) == {"duplicate_in_window"}
    # They are many in a storm and never sent: they hold no copy of the anomaly.
    assert all(entry.anomaly == {} for entry in repeats)


def test_service_model_type_window_and_rule_each_make_an_alert_of_their_own(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put
) -> None:
    make_rule()
    make_rule(cooldown_seconds=600)
    base = make_candidate()
    others = [
        make_candidate(service="search-api"),
        make_candidate(model="claude-sonnet"),
        make_candidate(anomaly_type="cost_anomaly"),
        make_candidate(timestamp=base.timestamp - timedelta(seconds=600)),
    ]

    assert put(base, *others) == Enqueued(pending=10)


def test_old_anomalies_are_suppressed_as_stale_so_that_a_backfill_pages_nobody(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put
) -> None:
    make_rule()
    make_rule(max_age_seconds=None)
    old = make_candidate(timestamp=datetime.now(UTC) - timedelta(days=2))

    assert put(old) == Enqueued(pending=1, suppressed={SuppressionReason.STALE: 1})
    assert OutboxEntry.objects.get(status="suppressed").suppression_reason == "stale"


def test_values_that_json_does_not_know_become_null_and_numpy_ones_plain(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put
) -> None:
    make_rule()
    details = {"z_score": np.float64(5.5), "samples": np.int64(10), "p_value": float("nan"), "methods": ("z_score",)}
    put(make_candidate(observed=np.float32(2.0), expected=float("inf"), details=details))

    stored = OutboxEntry.objects.get().anomaly
    assert (stored["observed"], stored["expected"]) == (2.0, None)
    assert stored["details"] == {"z_score": 5.5, "samples": 10, "p_value": None, "methods": ["z_score"]}


def test_a_rule_and_a_project_deleted_meanwhile_do_not_fail_the_ingest_transaction(
    make_rule: MakeRule, make_candidate: MakeCandidate, project: Project
) -> None:
    make_rule()
    rules = load_rules([project.pk])
    anomaly = make_candidate()
    project.delete()

    assert enqueue(connection.connection, [anomaly], rules, now=datetime.now(UTC)).pending == 1


def test_transactions_that_insert_the_same_entries_do_not_deadlock(
    make_rule: MakeRule, make_candidate: MakeCandidate, project: Project
) -> None:
    make_rule()
    rules = load_rules([project.pk])
    anomalies = [make_candidate(service=f"service-{n}") for n in range(200)]
    results: list[int] = []
    start = threading.Barrier(4)
    dsn = _dsn()

    def insert(mine: list[AlertCandidate]) -> None:
        database = psycopg2.connect(dsn)
        with database:
            start.wait()
            results.append(enqueue(database, mine, rules, now=datetime.now(UTC)).pending)
        database.close()

    orders = [anomalies, anomalies[::-1], anomalies[100:] + anomalies[:100], anomalies[::2] + anomalies[1::2]]
    threads = [threading.Thread(target=insert, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == [0, 0, 0, 200]


def _dsn() -> str:
    info = connection.connection.info
    return f"host={info.host} port={info.port} dbname={info.dbname} user={info.user} password={info.password}"


def test_the_entry_id_depends_on_anomaly_and_rule_alone() -> None:
    anomaly = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")

    assert entry_id(anomaly, 1) == entry_id(anomaly, 1) != entry_id(anomaly, 2)
