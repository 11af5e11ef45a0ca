"""Fixtures that every test may use; the servers behind them are real ones (`tests.services`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import django
import pytest

from tests.services import KafkaBroker, RedisServer, TestServices

if os.environ.get("DJANGO_SETTINGS_MODULE"):
    # pytest-django has read the settings by now, with the database that the shell names.
    raise pytest.UsageError("DJANGO_SETTINGS_MODULE is set: unset it, so that the tests use servers of their own")

# Sentinel's processes start from compiled modules, as where it is installed.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Before the other conftest files, which import models; pytest-django finds Django set up.
SERVICES = TestServices()
SERVICES.set_environment()
django.setup()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers, whether the tests passed, failed or were interrupted."""
    SERVICES.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slow tests last, so that a mistake shows early."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Start PostgreSQL before pytest-django makes the test database in it."""
    SERVICES.postgres.start()


@pytest.fixture(scope="session")
def _redis() -> RedisServer:
    service = SERVICES.redis.start()
    redis = SERVICES.redis
    return RedisServer(
        url=service.url, kill=redis.kill, restart=redis.start, suspend=redis.suspend, resume=redis.resume
    )


@pytest.fixture
def redis_server(_redis: RedisServer) -> Iterator[RedisServer]:
    """Give a running, empty Redis that a test may kill."""
    import redis

    _redis.restart()
    with redis.Redis.from_url(_redis.url) as client:
        client.flushall()
    yield _redis
    _redis.restart()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Give the URL of a running, empty Redis; `settings.REDIS_URL` is the same."""
    return redis_server.url


@pytest.fixture
def kafka() -> Iterator[KafkaBroker]:
    """Give a running Kafka; `settings.SENTINEL_BROKERS` is the same."""
    service = SERVICES.kafka.start()
    broker = SERVICES.kafka
    yield KafkaBroker(
        brokers=service.url, kill=broker.kill, restart=broker.start, suspend=broker.suspend, resume=broker.resume
    )
    SERVICES.kafka.start()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Give the directory of the real traces and labelled texts (SENTINEL_SHARED, default ../shared)."""
    root = Path(__file__).resolve().parent.parent
    shared = (root / os.environ.get("SENTINEL_SHARED", "../shared")).resolve()
    if not (shared / "data").is_dir():
        pytest.skip(f"{shared / 'data'} is not there; set SENTINEL_SHARED")
    return shared / "data"
