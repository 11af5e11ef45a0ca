"""PostgreSQL, Redis and Kafka for the fault suite: durable, killed and restarted at will, shared by many rows.

Each row gets a database, a topic and an installation id of its own, which costs a second instead of a minute.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

import psutil
import psycopg2
import redis
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from sentinel import ports
from sentinel.child import Child
from sentinel.services.base import Service, ServiceUnavailable, run_service
from sentinel.services.kafka import Kafka
from sentinel.services.postgres import ROLE, SUPERUSER, Postgres
from sentinel.services.redis import Redis

REPOSITORY = Path(__file__).resolve().parents[2]
POSTGRES_SETTINGS = {
    # With it a recovery is measured to the moment of COMMIT.
    "track_commit_timestamp": "on",
    "min_wal_size": "80MB",
    "max_wal_size": "1GB",
    # As it is otherwise, but with the database, which is that of a row.
    "log_line_prefix": "%m [%p] %d %a ",
}
START_AGAIN_SECONDS = 60.0


class Server:
    """One server process with its signals; its address stays the same however often it is started."""

    def __init__(self, service: Service, *, log_directory: Path) -> None:
        self.service = service
        self._log_directory = log_directory
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return self.service.url

    def lines(self, *words: str) -> list[str]:
        """Return the lines with all these words that it has logged in all its lives."""
        path = self._log_directory / f"{self.service.name}.log"
        files = (file for file in (path.with_name(f"{path.name}.1"), path) if file.exists())
        lines = (line for file in files for line in file.read_text(errors="replace").splitlines())
        return [line for line in lines if all(word in line for word in words)]

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.exit_code() is None

    @property
    def pid(self) -> int:
        assert self._child is not None, f"{self.service.name} was never started"
        return self._child.pid

    def processes(self) -> list[psutil.Process]:
        """Return the server's process and all it has started: PostgreSQL's backends have groups of their own."""
        parent = psutil.Process(self.pid)
        return [parent, *parent.children(recursive=True)]

    def start(self) -> None:
        """Start it if it does not run and wait until it answers; what a killed one held may be freed only soon."""
        deadline = time.monotonic() + START_AGAIN_SECONDS
        while not self.is_running:
            try:
                self._child = run_service(self.service, log_directory=self._log_directory)
            except ServiceUnavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the server's own process."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as `kill -9` does, and wait until what it had started is gone as well."""
        if not self.is_running:
            return
        processes = self.processes()
        assert self._child is not None
        self._child.kill()
        psutil.wait_procs(processes, timeout=20)

    def stop_at_once(self) -> None:
        """SIGQUIT, and wait for the end: for PostgreSQL `pg_ctl stop -m immediate`, which leaves a crash to recover from."""
        assert self._child is not None
        self.send_signal(signal.SIGQUIT)
        assert self._child.wait(timeout_seconds=START_AGAIN_SECONDS)

    def suspend(self) -> None:
        """Stop the clock of it and of all it has started: it holds its connections and answers nothing."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        if self.is_running:
            for process in self.processes():
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def stop(self) -> None:
        if self.is_running:
            self.resume()
            assert self._child is not None
            self._child.stop()


class Servers:
    """The three servers; `by_name` has them as "postgres", "redis" and "kafka"."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        logs = directory / "logs"
        logs.mkdir(parents=True)
        self.postgres = Server(Postgres(directory, settings=POSTGRES_SETTINGS), log_directory=logs)
        self.redis = Server(Redis(directory, port=ports.any_free_port()), log_directory=logs)
        self.kafka = Server(Kafka(directory, port=ports.any_free_port()), log_directory=logs)
        self.by_name = {"postgres": self.postgres, "redis": self.redis, "kafka": self.kafka}
        self._is_prepared = False

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that lead Sentinel's processes here, to the database that rows are copied from."""
        return {
            "SENTINEL_DATA_DIR": str(self.directory / "data"),
            "SENTINEL_SECRET_KEY": "only-for-tests",
            "DJANGO_SETTINGS_MODULE": "sentinel.settings",
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.redis.url,
            "SENTINEL_BROKERS": self.kafka.url,
        }

    def ensure(self) -> None:
        """Bring up what a row has left dead or stopped, with an empty Redis that takes everything."""
        for server in self.by_name.values():
            server.resume()
            server.start()
        with self.redis_client() as client:
            client.config_set("maxmemory", 0)
            client.flushall()
        if not self._is_prepared:
            command = [sys.executable, "manage.py", "prepare"]
            subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **self.environment}, check=True, timeout=180)
            self._is_prepared = True

    def new_database(self, name: str, *, topic: str) -> str:
        """Make a prepared database in which `topic` alone feeds the default project; return its URL."""
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE sentinel')
        url = self.postgres.url.replace("/sentinel?", f"/{name}?")
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as sql:
            sql.execute("DELETE FROM ingestion_topic")
            sql.execute(
                "INSERT INTO ingestion_topic (name, project_id, receives_http) "
                "SELECT %s, id, true FROM ingestion_project WHERE slug = 'default'",
                [topic],
            )
        return url

    @property
    def superuser_url(self) -> str:
        """The database `postgres` as its superuser, for ALTER SYSTEM and the like; a row takes back what it sets."""
        return self.postgres.url.replace(f"//{ROLE}@/sentinel?", f"//{SUPERUSER}@/postgres?")

    def deadlocks(self, database: str) -> list[str]:
        """Return what PostgreSQL has logged of the deadlocks that it ended there: a crash empties its statistics."""
        return self.postgres.lines(f" {database} ", "deadlock detected")

    def drop_database(self, name: str) -> None:
        # Its owner may not end an autovacuum worker.
        self.execute_as_superuser(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute_as_superuser(self, statement: str) -> None:
        """Run a statement outside a transaction, such as ALTER SYSTEM; a row takes back what it sets."""
        self._execute(statement, url=self.superuser_url)

    def _execute(self, statement: str, *, url: str | None = None) -> None:
        with closing(psycopg2.connect(url or self.postgres.url.replace("/sentinel?", "/postgres?"))) as connection:
            connection.autocommit = True
            with connection.cursor() as sql:
                sql.execute(statement)

    def create_topic(self, name: str, *, partitions: int, brokers: str | None = None) -> None:
        with closing(self.admin(brokers)) as admin:
            admin.create_topics({name: {"num_partitions": partitions, "replication_factor": 1}})

    def configure_topic(self, name: str, settings: Mapping[str, str]) -> None:
        """Change settings of a topic, such as "max.message.bytes"."""
        with closing(self.admin()) as admin:
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, dict(settings))])

    def delete_topic(self, name: str) -> None:
        with closing(self.admin()) as admin, suppress(KafkaError):
            admin.delete_topics([name])

    def admin(self, brokers: str | None = None) -> KafkaAdminClient:
        """Return a client for what the broker, or another one, is asked to do to a topic; close it."""
        return KafkaAdminClient(bootstrap_servers=brokers or self.kafka.url)

    def redis_client(self) -> redis.Redis:
        return redis.Redis.from_url(self.redis.url, socket_timeout=5)

    def stop(self) -> None:
        for server in (self.kafka, self.redis, self.postgres):
            server.stop()
