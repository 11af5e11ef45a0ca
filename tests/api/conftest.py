"""People with roles: a reader, a sender, an administrator and a stranger whose keys belong to another project.

Models are imported inside the fixtures: pytest-django reads the settings after the conftest files.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pytest_django import DjangoDbBlocker, Settings

if TYPE_CHECKING:
    from django.test import Client

    from detection.models import Anomaly
    from ingestion.models import DeadLetter, Event, PartitionCursor, Project


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    from ingestion.partitions import ensure_partitions

    with django_db_blocker.unblock():
        ensure_partitions()


@pytest.fixture(autouse=True)
def _keys_and_inbox(settings: Settings) -> None:
    """Let nobody in without a key, and keep the log in PostgreSQL."""
    settings.SENTINEL_BROKERS = []
    settings.SENTINEL_LOOPBACK_PROJECT = ""


@pytest.fixture
def project(db: None) -> Project:
    from ingestion.models import Project

    return Project.objects.get(slug="default")


@pytest.fixture
def other_project(db: None) -> Project:
    from ingestion.models import Project

    return Project.objects.create(slug="other", name="Other")


def client_of(project: Project, *scopes: str) -> Client:
    from django.test import Client

    from api.models import Scope, create_key

    _, token = create_key(project, name="test", scopes=[Scope(scope) for scope in scopes])
    return Client(headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def reader(project: Project) -> Client:
    return client_of(project, "read")


@pytest.fixture
def sender(project: Project) -> Client:
    return client_of(project, "ingest")


@pytest.fixture
def administrator(project: Project) -> Client:
    return client_of(project, "admin")


@pytest.fixture
def stranger(other_project: Project) -> Client:
    return client_of(other_project, "read", "ingest", "admin")


@pytest.fixture
def anonymous(db: None) -> Client:
    from django.test import Client

    return Client()


@pytest.fixture
def inbox(transactional_db: None) -> Iterator[None]:
    """Give the default topic of the log without Kafka."""
    from ingestion.log.configured import create_topics
    from ingestion.log.producer import appender

    appender.cache_clear()
    create_topics(["llm.telemetry"])
    yield
    appender().close()
    appender.cache_clear()


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def add_cursor(project: Project) -> Callable[..., PartitionCursor]:
    from ingestion.models import PartitionCursor

    partitions = itertools.count()

    def add(**values: Any) -> PartitionCursor:
        row = {"project": project, "cluster_id": "test", "topic_id": str(uuid.uuid4()), "topic": "llm.telemetry"}
        return PartitionCursor.objects.create(**({**row, "partition": next(partitions)} | values))

    return add


@pytest.fixture
def add_event(project: Project, now: datetime) -> Callable[..., Event]:
    from ingestion.models import Event, Series

    offsets = itertools.count()

    def add(**values: Any) -> Event:
        offset = next(offsets)
        row: dict[str, Any] = {
            "event_id": uuid.uuid4(),
            "project": project,
            "timestamp": now - timedelta(minutes=1, milliseconds=offset),
            "ingested_at": now,
            "cursor_id": 0,
            "log_offset": offset,
            "scored": True,
            "service": "chat-api",
            "model": "gpt-4",
            "latency_ms": 150.5,
            "prompt_tokens": 10,
            "completion_tokens": 20,
            "total_tokens": 30,
            "cost_usd": 0.001,
            "has_errors": False,
        }
        event = Event(**(row | values))
        Series.objects.get_or_create(project=event.project, service=event.service, model=event.model)
        event.save(force_insert=True)
        return event

    return add


@pytest.fixture
def add_dead_letter(add_cursor: Callable[..., PartitionCursor], now: datetime) -> Callable[..., DeadLetter]:
    from ingestion.models import DeadLetter

    offsets = itertools.count()
    cursor = add_cursor()

    def add(**values: Any) -> DeadLetter:
        row: dict[str, Any] = {
            "project": cursor.project,
            "cursor": cursor,
            "log_offset": next(offsets),
            "log_time": now,
            "stage": "decode",
            "reason": "missing_field",
            "field": "latency_ms",
            "message": "latency_ms is required",
            "size_bytes": 28,
            "sha256": b"\x00" * 32,
            "payload": '{"service_name": "chat-api"}',
        }
        letter = DeadLetter.objects.create(**(row | values))
        letter.refresh_from_db()
        return letter

    return add


@pytest.fixture
def add_anomaly(project: Project, now: datetime) -> Callable[..., Anomaly]:
    from detection.models import Anomaly

    count = itertools.count()

    def add(**values: Any) -> Anomaly:
        row: dict[str, Any] = {
            "project": project,
            "service": "chat-api",
            "model": "gpt-4",
            "metric": "latency_ms",
            "timestamp": now - timedelta(minutes=1, milliseconds=next(count)),
            "anomaly_type": "latency_spike",
            "severity": "critical",
            "detection_method": "z_score",
            "detectors": ["z_score", "iqr"],
            "direction": "above",
            "observed": 15234.5,
            "baseline_mean": 1234.5,
            "baseline_stddev": 234.2,
            "baseline_median": 1205.3,
            "deviation": 59.8,
            "threshold": 3.0,
            "lower": 531.9,
            "upper": 1937.1,
            "z_score": 59.8,
            "p_value": 0.0,
            "confidence": 0.999,
            "window_size": 1000,
            "samples": 1000,
            "details": {"flat": False},
        }
        anomaly = Anomaly.objects.create(**(row | values))
        anomaly.refresh_from_db()
        return anomaly

    return add
