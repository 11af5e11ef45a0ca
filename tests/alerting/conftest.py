"""Things that the tests of alerting share.

Models are imported inside the fixtures: pytest reads this file before Django is set up when it is given this folder.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from alerting.candidate import AlertCandidate

if TYPE_CHECKING:
    from alerting.deliver import Courier
    from alerting.models import AlertRule
    from alerting.outbox import Enqueued
    from ingestion.models.project import Project


class ManualClock:
    """Stands still until it is moved; starts a little ahead of the database's, so that what was just put in is due."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC) + timedelta(seconds=5)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def unscrubbed(texts: Sequence[str]) -> Sequence[str]:
    return texts


@pytest.fixture(autouse=True)
def _fresh_rules() -> Iterator[None]:
    from alerting.rules import forget_rules

    forget_rules()
    yield
    forget_rules()


@pytest.fixture
def project(db: None) -> Project:
    from alerting.models import AlertRule
    from ingestion.models.project import Project

    AlertRule.objects.all().delete()
    return Project.objects.create(slug="shop", name="Shop")


@pytest.fixture
def allow_loopback(settings: Any) -> None:
    settings.SENTINEL_WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]


@pytest.fixture
def make_rule(project: Project) -> Callable[..., AlertRule]:
    """Return a maker of rules that match everything unless told otherwise."""

    from alerting.models import AlertRule

    def make(**fields: Any) -> AlertRule:
        defaults = {"project": project, "name": f"rule {uuid.uuid4().hex[:6]}", "min_severity": "low"}
        return AlertRule.objects.create(**(defaults | fields))

    return make


@pytest.fixture
def make_candidate(project: Project) -> Callable[..., AlertCandidate]:
    """Return a maker of anomalies of the project, all of one moment at the start of the present five-minute window."""
    now = datetime.now(UTC)
    timestamp = now - timedelta(seconds=now.timestamp() % 300)

    def make(**fields: Any) -> AlertCandidate:
        defaults: dict[str, Any] = {
            "anomaly_id": uuid.uuid4(),
            "event_id": uuid.uuid4(),
            "project_id": project.pk,
            "service": "chat-api",
            "model": "gpt-4o",
            "anomaly_type": "latency_spike",
            "severity": "high",
            "timestamp": timestamp,
            "metric": "latency_ms",
            "observed": 9000.0,
            "expected": 800.0,
            "confidence": 0.99,
            "detection_method": "z_score",
            "explanation": "Latency of chat-api was 9,000 ms; 800 ms is usual.",
        }
        return AlertCandidate(**(defaults | fields))

    return make


@pytest.fixture
def put(project: Project) -> Callable[..., Enqueued]:
    """Return what the pipeline does: enqueue anomalies with the rules in force."""
    from django.db import connection

    from alerting.outbox import enqueue
    from alerting.rules import forget_rules, load_rules

    def put_(*candidates: AlertCandidate, now: datetime | None = None) -> Enqueued:
        forget_rules()
        connection.ensure_connection()
        return enqueue(connection.connection, candidates, load_rules([project.pk]), now=now or datetime.now(UTC))

    return put_


@pytest.fixture
def courier() -> Courier:
    """A courier with the real channels, the database's clock and no jitter."""
    from alerting.channels import CHANNELS
    from alerting.deliver import Courier
    from ingestion.clock import database_now

    return Courier(channels=CHANNELS, scrub=unscrubbed, clock=database_now, jitter=lambda: 0.0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def patient_courier(clock: ManualClock) -> Courier:
    """A courier on the manual clock."""
    from alerting.channels import CHANNELS
    from alerting.deliver import Courier

    return Courier(channels=CHANNELS, scrub=unscrubbed, clock=clock, jitter=lambda: 0.0)
