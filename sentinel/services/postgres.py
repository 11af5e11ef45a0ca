"""Embedded PostgreSQL.

It listens on a socket in a directory that only its owner can enter, and on no port: no password is needed, nothing
can collide, and COPY is cheaper than over TCP.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from sentinel.child import Command
from sentinel.services.base import Service, ServiceUnavailable
from sentinel.services.postgres_binaries import Binaries, as_user, find_binaries
from sentinel.services.sockets import create_socket_directory, socket_directory
from sentinel.services.unprivileged import open_way, own, unprivileged_user

ROLE = "sentinel"
DATABASE = "sentinel"
SUPERUSER = "postgres"
INITDB_TIMEOUT_SECONDS = 120
SETTINGS_FILE = "sentinel.conf"

# Durability stays whole (fsync, synchronous_commit and full_page_writes are on): Sentinel's promises rest on it.
# `ALTER SYSTEM` overrides each of these.
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    # Ingestion writes steadily: few, spread checkpoints, and WAL large enough not to force more of them.
    "wal_buffers": "16MB",
    "min_wal_size": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    # Statistics of new partitions and of small hot tables must not lag behind a burst.
    "autovacuum_naptime": "15s",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
    # A statement, its parameters or the line of a failed COPY could hold telemetry: none of them reaches the log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


class Postgres(Service):
    """A PostgreSQL server below `directory`; `settings` come on top of `SETTINGS`."""

    name = "postgres"
    variable: ClassVar[str] = "DATABASE_URL"
    # Recovery after a crash replays up to max_wal_size.
    start_timeout_seconds = 120.0

    def __init__(self, directory: Path, *, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(directory)
        self._settings = {**SETTINGS, **(settings or {})}
        self._data = directory / "postgres"
        self._sockets = socket_directory(directory, "postgres")
        self._user: tuple[int, int] | None = None
        self._binaries: Binaries | None = None

    def prepare(self) -> None:
        self._user = unprivileged_user(owner_of=self._data)
        self._binaries = find_binaries(user=self._user, version=self._data_version())
        create_socket_directory(self._sockets)
        if self._data_version() is None:
            self._initialise(self._binaries)
        settings = "".join(f"{name} = '{value}'\n" for name, value in self._settings.items())
        (self._data / SETTINGS_FILE).write_text(settings, encoding="ascii")
        own(self._data / SETTINGS_FILE, self._user)
        own(self._sockets, self._user)
        open_way(self._data, self._user)
        open_way(self._sockets, self._user)

    def _data_version(self) -> int | None:
        try:
            return int((self._data / "PG_VERSION").read_text(encoding="ascii"))
        except FileNotFoundError:
            return None

    def _initialise(self, binaries: Binaries) -> None:
        """Make the data directory beside its place and move it there: an interrupted attempt leaves nothing behind."""
        unfinished = self._data.with_name("postgres.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700, parents=True)
        own(unfinished, self._user)
        open_way(unfinished, self._user)
        _initdb(binaries, unfinished, self._user)
        with (unfinished / "postgresql.conf").open("a", encoding="utf-8") as configuration:
            configuration.write(f"\ninclude_if_exists = '{SETTINGS_FILE}'\n")
        unfinished.rename(self._data)

    def command(self) -> Command:
        assert self._binaries is not None, "prepare() comes first"
        return Command(
            argv=(str(self._binaries.directory / "postgres"), "-D", str(self._data), "-k", str(self._sockets)),
            directory=self._data,
            user=self._user,
            stop_signal=signal.SIGINT,  # "fast": roll back, write a checkpoint, end
            stop_seconds=60.0,
            orphan_signal=signal.SIGINT,
        )

    def is_ready(self) -> bool:
        import psycopg2

        try:
            self._connect(SUPERUSER).close()
        except psycopg2.OperationalError:
            return False
        return True

    def after_start(self) -> None:
        with closing(self._connect(SUPERUSER)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", [ROLE])
            if not cursor.rowcount:
                # Not a superuser: it needs no more than its own database, and those that tests make.
                cursor.execute(f"CREATE ROLE {ROLE} LOGIN CREATEDB")
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE])
            if not cursor.rowcount:
                cursor.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")

    def _connect(self, role: str) -> Any:
        import psycopg2

        return psycopg2.connect(host=str(self._sockets), user=role, dbname="postgres", connect_timeout=2)

    @property
    def url(self) -> str:
        return f"postgresql://{ROLE}@/{DATABASE}?host={quote(str(self._sockets), safe='')}"

    @property
    def address(self) -> str:
        return str(self._sockets)


def _initdb(binaries: Binaries, data: Path, user: tuple[int, int] | None) -> None:
    # Local connections are trusted because the socket's directory lets only its owner in; there are no others.
    arguments = [
        "--auth-local=trust",
        "--auth-host=reject",
        "--encoding=UTF8",
        "--no-locale",
        f"--username={SUPERUSER}",
    ]
    try:
        subprocess.run(
            [binaries.directory / "initdb", *arguments, "-D", data],
            check=True,
            capture_output=True,
            text=True,
            timeout=INITDB_TIMEOUT_SECONDS,
            **as_user(user),
        )
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip().splitlines()[-1:] or [f"exit {error.returncode}"]
        raise ServiceUnavailable(
            f"initdb failed: {reason[0]}", hint="free disk space or name another --data-dir"
        ) from error
