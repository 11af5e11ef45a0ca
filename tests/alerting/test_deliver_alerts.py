from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from django.core.management import call_command
from django.db import connection

from alerting.candidate import AlertCandidate
from alerting.models import AlertRule, DeliveryAttempt, OutboxEntry
from alerting.outbox import Enqueued
from alerting.signature import verify
from tests.alerting.receiver import Answer, Receiver
from tests.alerting.secrecy import SECRET, URL_TOKEN

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("allow_loopback")]

MakeRule = Callable[..., AlertRule]
MakeCandidate = Callable[..., AlertCandidate]
Put = Callable[..., Enqueued]
ROOT = Path(__file__).resolve().parents[2]


def database_url() -> str:
    """Return the URL of the test database."""
    given = {name: quote(str(connection.settings_dict[name]), safe="") for name in ("USER", "PASSWORD", "NAME")}
    host, port = connection.settings_dict["HOST"], connection.settings_dict["PORT"]
    return f"postgresql://{given['USER']}:{given['PASSWORD']}@/{given['NAME']}?host={quote(host)}&port={port}"


class Workers:
    """Alert workers as processes of their own; what is still alive at the end is killed."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = os.environ | {
            "DATABASE_URL": database_url(),
            "SENTINEL_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
            "SENTINEL_ROLE": "alerts",
        }
        process = subprocess.Popen(
            [sys.executable, "manage.py", "deliver_alerts", *arguments],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._processes.append(process)
        return process

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers()
    yield workers
    workers.close()


def wait_for(condition: Callable[[], object], *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_once_delivers_what_is_due_and_returns(make_rule: MakeRule, make_candidate: MakeCandidate, put: Put) -> None:
    make_rule()
    put(*[make_candidate(service=f"service-{n}") for n in range(20)])

    call_command("deliver_alerts", once=True, threads=3)

    assert set(OutboxEntry.objects.values_list("status", flat=True)) == {"delivered"}
    assert DeliveryAttempt.objects.count() == 20


@pytest.mark.slow
def test_a_worker_killed_between_sending_and_recording_is_replaced_and_the_duplicate_has_the_same_id(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, workers: Workers
) -> None:
    victim = workers.start()
    with Receiver(Answer(before=victim.kill), Answer(204)) as receiver:
        make_rule(channel="webhook", webhook_url=receiver.url, webhook_secret=SECRET)
        put(make_candidate())
        assert victim.wait(60) == -signal.SIGKILL
        entry = OutboxEntry.objects.get()
        assert entry.status == "claimed"
        # The lease is over, without a minute's wait.
        OutboxEntry.objects.update(lease_until=entry.created_at)
        time.sleep(1.1)
        assert workers.start("--once").wait(60) == 0

    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == str(entry.id)
    assert first.body == second.body
    assert int(second.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])
    verify(second.headers, second.body, secret=SECRET, now_seconds=datetime.now(UTC).timestamp())
    entry.refresh_from_db()
    assert (entry.status, entry.claims, entry.attempts) == ("delivered", 2, 1)


@pytest.mark.slow
def test_a_worker_that_is_asked_to_stop_finishes_what_it_is_sending_and_logs_no_secret(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, workers: Workers
) -> None:
    worker = workers.start()
    with Receiver(Answer(before=worker.terminate, delay_seconds=0.3)) as receiver:
        make_rule(channel="webhook", webhook_url=receiver.url, webhook_secret=SECRET)
        put(make_candidate())
        output, _ = worker.communicate(timeout=60)

    assert worker.returncode == 0
    assert OutboxEntry.objects.get().status == "delivered"
    assert "alert_worker_stopped" in output
    assert SECRET not in output
    assert URL_TOKEN not in output


@pytest.mark.slow
def test_processes_that_compete_deliver_each_window_once(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, workers: Workers
) -> None:
    with Receiver(Answer(204, delay_seconds=0.01)) as receiver:
        make_rule(channel="webhook", webhook_url=receiver.url, webhook_secret=SECRET)
        for _ in range(5):
            put(*[make_candidate(service=f"service-{n}") for n in range(30)])
        running = [workers.start("--threads", "2") for _ in range(2)]
        unsettled = OutboxEntry.objects.filter(status__in=["pending", "claimed"])
        wait_for(lambda: not unsettled.exists())
        for worker in running:
            worker.terminate()
            assert worker.wait(60) == 0

    ids = [request.headers["webhook-id"] for request in receiver.requests]
    assert len(ids) == len(set(ids)) == 30
    assert OutboxEntry.objects.filter(status="delivered").values("service").distinct().count() == 30
    assert OutboxEntry.objects.filter(suppression_reason="duplicate_in_window").count() == 120


@pytest.mark.slow
def test_an_idle_worker_costs_little_and_wakes_within_a_second(
    make_rule: MakeRule, make_candidate: MakeCandidate, put: Put, workers: Workers
) -> None:
    make_rule()
    worker = workers.start()
    put(make_candidate(service="first"))
    wait_for(lambda: OutboxEntry.objects.filter(status="delivered").count() == 1)
    process = psutil.Process(worker.pid)
    before = sum(process.cpu_times()[:2])
    time.sleep(3)
    assert sum(process.cpu_times()[:2]) - before < 0.3

    put(make_candidate(service="second"))
    started = time.monotonic()
    wait_for(lambda: OutboxEntry.objects.filter(status="delivered").count() == 2)
    assert time.monotonic() - started < 2
