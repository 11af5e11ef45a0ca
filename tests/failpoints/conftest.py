"""A log, a reference that was ingested undisturbed, and processes to disturb."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.management import call_command
from pytest_django.plugin import DjangoDbBlocker

from ingestion.audit import audit
from ingestion.log.postgres import PostgresLog
from ingestion.models import InboxPartition
from ingestion.partitions import ensure_partitions
from tests.failpoints.bench import Bench, Topics
from tests.failpoints.picture import picture
from tests.failpoints.processes import Processes, running_processes
from tests.failpoints.records import COUNT, LOG
from tests.failpoints.roles import BATCH_RECORDS
from tests.services import RedisServer


@pytest.fixture(scope="session")
def processes(
    django_db_setup: None, _redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Processes]:
    """Give the nursery, one for all cases."""
    log_path = tmp_path_factory.mktemp("nursery") / "nursery.log"
    with running_processes(log_path, SENTINEL_BATCH_RECORDS=str(BATCH_RECORDS)) as found:
        yield found


@pytest.fixture(scope="module")
def transactional_db(django_db_setup: None, django_db_blocker: DjangoDbBlocker, _redis: RedisServer) -> Iterator[None]:
    """Open the database for a whole module: to empty it after every case, as pytest-django does, costs half of the time.

    Every case has rows of its own. What all of them leave behind passes the audit.
    """
    with django_db_blocker.unblock():
        ensure_partitions()
        _redis.restart()
        with redis.Redis.from_url(_redis.url) as client:
            client.flushall()
        yield
        problems = [item for item in audit(PostgresLog()) if item.problems]
        call_command("flush", verbosity=0, interactive=False)
        assert problems == []


@pytest.fixture(scope="module")
def topics(transactional_db: None) -> Topics:
    return Topics(LOG)


@pytest.fixture
def bench(processes: Processes, topics: Topics, tmp_path: Path) -> Iterator[Bench]:
    """Give a partition that holds the log and has no cursor yet."""
    found = Bench(processes, topics.new(), tmp_path)
    yield found
    found.close()


@pytest.fixture(scope="module")
def reference(processes: Processes, topics: Topics, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what the log gives where nothing happens."""
    found = picture(undisturbed(processes, topics.new(), tmp_path_factory.mktemp("reference")))
    assert found["counts"] == {
        "stored": 575, "duplicates": 16, "rejected": 6, "late": 3, "control": 0, "anomalies": len(found["detection_anomaly"]), "unknown_fields": 0,
    }  # fmt: skip
    assert len(found["events"]) < COUNT
    assert len(found["detection_anomaly"]) >= 10
    assert len(found["outbox"]) == len(found["detection_anomaly"])
    return found


def undisturbed(processes: Processes, inbox: InboxPartition, directory: Path) -> int:
    """Ingest a partition without any fault and return its cursor."""
    bench = Bench(processes, inbox, directory)
    assert bench.drain(bench.worker()) == {"outcome": "committed"}
    bench.close()
    return bench.cursor.pk
