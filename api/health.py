"""Probes of what Sentinel stands on. Each runs in its own thread with a deadline, so that one that hangs hides no other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as ProbeTimeout
from dataclasses import dataclass
from typing import Any

import redis
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from ingestion.log.configured import open_log

PROBE_TIMEOUT_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one probe. `needed`: without it the process cannot take traffic."""

    name: str
    needed: bool
    latency_ms: float
    error: str | None

    @property
    def up(self) -> bool:
        """Tell whether the dependency answered."""
        return self.error is None

    def shape(self) -> dict[str, Any]:
        """Return the JSON of one check."""
        return {
            "status": "up" if self.up else "down",
            "needed": self.needed,
            "latency_ms": round(self.latency_ms, 1),
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class Probe:
    """A dependency and how to ask whether it is there; `ask` raises where it is not."""

    name: str
    ask: Callable[[], None]
    needed: bool


def run_probes(
    probes: Mapping[str, Probe] | None = None, *, timeout_seconds: float = PROBE_TIMEOUT_SECONDS
) -> list[Check]:
    """Ask every dependency at once and return within about `timeout_seconds`."""
    chosen = list((PROBES if probes is None else probes).values())
    pool = ThreadPoolExecutor(max_workers=len(chosen), thread_name_prefix="probe")
    started = time.perf_counter()
    futures = [(probe, pool.submit(_timed, probe)) for probe in chosen]
    checks = []
    for probe, future in futures:
        remaining = timeout_seconds - (time.perf_counter() - started)
        try:
            checks.append(future.result(timeout=max(remaining, 0.0)))
        except ProbeTimeout:
            error = f"no answer within {timeout_seconds:g} s"
            checks.append(Check(probe.name, probe.needed, timeout_seconds * 1000, error))
    pool.shutdown(wait=False)
    return checks


def _timed(probe: Probe) -> Check:
    started = time.perf_counter()
    try:
        probe.ask()
        error = None
    except Exception as failure:  # noqa: BLE001  # A probe reports whatever it meets: that is its purpose.
        first_line = str(failure).strip().partition("\n")[0]
        error = f"{type(failure).__name__}: {first_line}"
    finally:
        connection.close()  # of this thread, which ends
    return Check(probe.name, probe.needed, (time.perf_counter() - started) * 1000, error)


def _ask_postgres() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _ask_migrations() -> None:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        raise RuntimeError(f"{len(missing)} migrations are not applied; run `python manage.py migrate`")


def _ask_redis() -> None:
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=PROBE_TIMEOUT_SECONDS, socket_connect_timeout=PROBE_TIMEOUT_SECONDS
    )
    try:
        client.ping()
    finally:
        client.close()


def _ask_log() -> None:
    log = open_log()
    try:
        if not log.partitions([settings.SENTINEL_TOPIC]):
            raise RuntimeError(f"topic {settings.SENTINEL_TOPIC} does not exist")
    finally:
        log.close()


# Without Redis events are still accepted and stored, only later: the cache and the hints it carries can be rebuilt.
PROBES: Mapping[str, Probe] = {
    probe.name: probe
    for probe in (
        Probe("postgres", _ask_postgres, needed=True),
        Probe("migrations", _ask_migrations, needed=True),
        Probe("log", _ask_log, needed=True),
        Probe("redis", _ask_redis, needed=False),
    )
}
STARTUP_PROBES: Mapping[str, Probe] = {name: PROBES[name] for name in ("postgres", "migrations")}
