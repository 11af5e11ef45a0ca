"""Real servers for the tests: started when the first test asks for them, stopped with the test session.

Their addresses are fixed before Django reads its settings, so that a test that needs no server starts none.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from sentinel import ports
from sentinel.child import Child
from sentinel.services.base import Service, run_service
from sentinel.services.kafka import Kafka
from sentinel.services.postgres import Postgres
from sentinel.services.redis import Redis

S = TypeVar("S", bound=Service)

# What an operator's shell may hold and a test must not inherit: tests never touch servers that they did not start.
KEPT_VARIABLES = ("SENTINEL_SHARED", "SENTINEL_FAULTS_")
FOREIGN_VARIABLES = ("DATABASE_URL", "REDIS_URL", "PROMETHEUS_MULTIPROC_DIR", "DJANGO_SETTINGS_MODULE")
# A test database need not survive a power cut; a killed server process loses nothing by these.
POSTGRES_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
    "min_wal_size": "80MB",
    "max_connections": "60",
}


class LazyService(Generic[S]):
    """A service that starts when it is first asked for."""

    def __init__(self, service: S, *, log_directory: Path) -> None:
        self.service = service
        self._log_directory = log_directory
        self._child: Child | None = None

    def start(self) -> S:
        """Return the service, running; raise `ServiceUnavailable`, with a hint, if it cannot run here."""
        if self._child is None or self._child.exit_code() is not None:
            self._child = run_service(self.service, log_directory=self._log_directory)
        return self.service

    def kill(self) -> None:
        """End the server as `kill -9` does."""
        if self._child is not None:
            self._child.kill()

    def suspend(self) -> None:
        """Let the server hang: its sockets accept, and nothing answers."""
        assert self._child is not None
        os.kill(self._child.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """End what `suspend` began."""
        assert self._child is not None
        os.kill(self._child.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Stop the server, if it runs."""
        if self._child is not None:
            self._child.stop()


class TestServices:
    """PostgreSQL, Redis and Kafka of one test session, below one temporary directory."""

    __test__ = False

    def __init__(self) -> None:
        # Not pytest's own temporary directory: a socket's path must be short, and servers outlive single tests.
        self.directory = Path(tempfile.mkdtemp(prefix="sentinel-tests-"))
        logs = self.directory / "logs"
        logs.mkdir()
        self.postgres = LazyService(Postgres(self.directory, settings=POSTGRES_SETTINGS), log_directory=logs)
        self.redis = LazyService(Redis(self.directory, port=ports.any_free_port()), log_directory=logs)
        self.kafka = LazyService(Kafka(self.directory, port=ports.any_free_port()), log_directory=logs)

    def set_environment(self) -> None:
        """Point Django at these servers, running or not; nothing of the caller's own environment remains."""
        foreign = (name for name in os.environ if name.startswith("SENTINEL_"))
        for name in [name for name in foreign if not name.startswith(KEPT_VARIABLES)]:
            del os.environ[name]
        for name in FOREIGN_VARIABLES:
            os.environ.pop(name, None)
        os.environ |= {
            "SENTINEL_DATA_DIR": str(self.directory / "data"),
            "DATABASE_URL": self.postgres.service.url,
            "REDIS_URL": self.redis.service.url,
            "SENTINEL_BROKERS": self.kafka.service.url,
            "SENTINEL_SECRET_KEY": "only-for-tests",
            "DJANGO_SETTINGS_MODULE": "sentinel.settings",
        }

    def close(self) -> None:
        """Stop what was started and remove it."""
        for service in (self.kafka, self.redis, self.postgres):
            service.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class KafkaBroker:
    """The running broker as tests use it."""

    brokers: str
    kill: Callable[[], None]
    restart: Callable[[], object]
    suspend: Callable[[], None]
    resume: Callable[[], None]

    def new_topic(self, *, partitions: int = 1, prefix: str = "test") -> str:
        """Create a topic that no other test uses and return its name."""
        from kafka import KafkaAdminClient

        name = f"{prefix}.{uuid.uuid4().hex[:12]}"
        admin = KafkaAdminClient(bootstrap_servers=self.brokers)
        try:
            admin.create_topics({name: {"num_partitions": partitions, "replication_factor": 1}})
        finally:
            admin.close()
        return name


@dataclass(frozen=True, slots=True)
class RedisServer:
    """The running Redis as tests use it."""

    url: str
    kill: Callable[[], None]
    restart: Callable[[], object]
    suspend: Callable[[], None]
    resume: Callable[[], None]
