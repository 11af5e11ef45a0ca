"""What `sentinel check` looks at: each probe returns findings, and every problem comes with its fix."""

from __future__ import annotations

import resource
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sentinel import ports
from sentinel.installation import SECRET_KEY_FILE, data_directory, running
from sentinel.runtime import State

MINIMUM_POSTGRES = 150_000
MINIMUM_REDIS = (6, 2)
MINIMUM_FREE_BYTES = 2 * 1024**3
MINIMUM_FREE_SHARE = 0.05
MINIMUM_OPEN_FILES = 1024
# Log times come from Kafka's clock, lateness and windows from ours: more than this moves verdicts.
MAXIMUM_CLOCK_SKEW_SECONDS = 1.0
TIMEOUT_SECONDS = 5
UP_HINT = "start it with `sentinel up`"


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `fix` is empty where there is nothing to mend."""

    name: str
    level: Level
    detail: str
    fix: str = ""


def ok(name: str, detail: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(name, Level.OK, detail)


def problem(name: str, detail: str, fix: str) -> Finding:
    """Return a finding that keeps Sentinel from working."""
    return Finding(name, Level.PROBLEM, detail, fix)


def warning(name: str, detail: str, fix: str) -> Finding:
    """Return a finding that will become a problem, or that only looks like one."""
    return Finding(name, Level.WARNING, detail, fix)


def diagnose() -> Iterator[Finding]:
    """Yield the findings of every probe, in the order of what depends on what; Django must be set up."""
    for name, probe in PROBES.items():
        try:
            yield from probe()
        except Exception as error:  # noqa: BLE001  # A probe that fails is a finding; the others still answer.
            yield problem(name, f"{type(error).__name__}: {_first_line(error)}", "see the logs, or run with --debug")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def check_installation() -> Iterator[Finding]:
    """Tell what runs in the data directory."""
    record = running()
    if record is None:
        yield warning("installation", f"nothing runs in {data_directory()}", UP_HINT)
        return
    yield ok("installation", f"{record.url}, supervisor pid {record.pid}, data in {data_directory()}")
    for process in record.processes:
        if process.state not in {State.READY, State.EXTERNAL}:
            log = data_directory() / "logs" / f"{process.name}.log"
            yield problem(process.name, f"{process.state}, {process.restarts} restarts", f"see {log}")


def check_secret_key() -> Iterator[Finding]:
    """Tell whether others may read the secret key."""
    path = data_directory() / SECRET_KEY_FILE
    if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield problem("secret key", f"{path} can be read by other users", f"chmod 600 {path}")


def check_configuration() -> Iterator[Finding]:
    """Run Django's system checks, ours among them."""
    from django.core import checks

    messages = checks.run_checks()
    for message in messages:
        level = Level.PROBLEM if message.level >= checks.ERROR else Level.WARNING
        yield Finding(f"configuration {message.id}", level, message.msg, message.hint or "see the documentation")
    if not messages:
        yield ok("configuration", "every system check passes")


def check_postgres() -> Iterator[Finding]:
    """Tell whether PostgreSQL answers, and how old it is."""
    from django.db import OperationalError, connection

    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('server_version'), current_setting('server_version_num')::int")
            version, number = cursor.fetchone()
    except OperationalError as error:
        yield problem("postgres", f"does not answer: {_first_line(error)}", f"{UP_HINT}, or set DATABASE_URL")
        return
    if number < MINIMUM_POSTGRES:
        yield problem("postgres", f"{version} is too old", "upgrade PostgreSQL to 15 or later")
    else:
        yield ok("postgres", version)
        yield from _check_migrations()


def _check_migrations() -> Iterator[Finding]:
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        yield problem("migrations", f"{len(missing)} are not applied", "run `sentinel up`, or `manage.py prepare`")
    else:
        yield ok("migrations", "all applied")


def check_redis() -> Iterator[Finding]:
    """Tell whether Redis answers, and how old it is."""
    import redis

    try:
        with _redis_client() as client:
            version = str(client.info("server")["redis_version"])
    except redis.RedisError as error:
        yield problem("redis", f"does not answer: {_first_line(error)}", f"{UP_HINT}, or set REDIS_URL")
        return
    if tuple(int(part) for part in version.split(".")[:2]) < MINIMUM_REDIS:
        yield problem("redis", f"{version} is too old", "upgrade Redis to 6.2 or later")
    else:
        yield ok("redis", version)


def _redis_client() -> Any:
    import redis
    from django.conf import settings
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def check_log() -> Iterator[Finding]:
    """Tell whether the log answers and holds the topics: Kafka, or PostgreSQL where no broker is named."""
    from django.conf import settings

    from ingestion.log.base import LogUnavailable
    from ingestion.log.configured import open_log

    if settings.SENTINEL_BROKERS and not any(map(_answers, settings.SENTINEL_BROKERS)):
        brokers = ", ".join(settings.SENTINEL_BROKERS)
        yield problem("kafka", f"no answer from {brokers}", f"{UP_HINT}, or set SENTINEL_BROKERS")
        return
    name = "kafka" if settings.SENTINEL_BROKERS else "log in postgres"
    log = open_log()
    try:
        partitions = log.partitions(settings.SENTINEL_DEFAULT_TOPICS)
    except LogUnavailable as error:
        yield problem(name, f"does not answer: {_first_line(error)}", f"{UP_HINT}, or set SENTINEL_BROKERS")
        return
    finally:
        log.close()
    found = {partition.topic for partition in partitions}
    version = f"{_kafka_version()}, " if settings.SENTINEL_BROKERS else ""
    yield ok(name, f"{version}{len(partitions)} partitions of {', '.join(sorted(found)) or 'no topic'}")
    if missing := set(settings.SENTINEL_DEFAULT_TOPICS) - found:
        yield problem("topics", f"missing: {', '.join(sorted(missing))}", "run `sentinel up`, or `manage.py prepare`")


def _answers(broker: str) -> bool:
    """Tell whether a port accepts connections: the client library would try for much longer."""
    host, _, port = broker.rpartition(":")
    return ports.answers(int(port), host=host.strip("[]"), timeout_seconds=TIMEOUT_SECONDS)


def _kafka_version() -> str:
    from django.conf import settings
    from kafka import KafkaAdminClient

    security = {name: value for name, value in settings.SENTINEL_KAFKA_SECURITY.items() if value is not None}
    admin = KafkaAdminClient(
        bootstrap_servers=settings.SENTINEL_BROKERS, request_timeout_ms=TIMEOUT_SECONDS * 1000, **security
    )
    try:
        broker = admin.describe_cluster()["brokers"][0]["broker_id"]
        return ".".join(str(part) for part in admin.get_broker_version_data(broker).broker_version)
    finally:
        admin.close()


def check_crc32c() -> Iterator[Finding]:
    """Tell whether checksums are computed in C: without, kafka-python decodes 25 times slower."""
    try:
        import crc32c
    except ImportError:
        yield problem("crc32c", "is not installed", "install the package crc32c into this environment")
        return
    yield ok("crc32c", "hardware" if crc32c.hardware_based else "software, in C")


def check_codecs() -> Iterator[Finding]:
    """Tell whether every compression that a producer may choose can be read."""
    from kafka import codec

    available = {
        "gzip": codec.has_gzip(),
        "snappy": codec.has_snappy(),
        "lz4": codec.has_lz4(),
        "zstd": codec.has_zstd(),
    }
    for name, found in available.items():
        if not found:
            package = {"snappy": "python-snappy", "zstd": "zstandard"}.get(name, name)
            fix = f"install the package {package} into this environment"
            yield problem("compression", f"{name} cannot be read", fix)
    if all(available.values()):
        yield ok("compression", ", ".join(available))


def check_clock() -> Iterator[Finding]:
    """Compare this machine's clock with those of PostgreSQL and Redis."""
    import redis
    from django.db import DatabaseError, connection

    readings: dict[str, float] = {}
    try:
        with connection.cursor() as cursor:
            readings["postgres"] = _skew(lambda: _query_time(cursor))
        with _redis_client() as client:
            readings["redis"] = _skew(lambda: _redis_time(client))
    except (DatabaseError, redis.RedisError):
        pass  # Said above already.
    for name, skew_seconds in readings.items():
        if abs(skew_seconds) > MAXIMUM_CLOCK_SKEW_SECONDS:
            yield problem(
                "clock", f"{skew_seconds:+.1f} s from {name}", "run NTP on every machine (timedatectl set-ntp 1)"
            )
    if readings and not any(abs(skew) > MAXIMUM_CLOCK_SKEW_SECONDS for skew in readings.values()):
        yield ok(
            "clock", f"within {max(abs(skew) for skew in readings.values()) * 1000:.0f} ms of {', '.join(readings)}"
        )


def _skew(read: Callable[[], float]) -> float:
    """Return how far our clock is ahead of the one that `read` reads, in seconds, the round trip halved."""
    before = time.time()
    other = read()
    return (before + time.time()) / 2 - other


def _query_time(cursor: Any) -> float:
    cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
    return float(cursor.fetchone()[0])


def _redis_time(client: Any) -> float:
    seconds, microseconds = client.time()
    return float(seconds) + float(microseconds) / 1e6


def check_disk() -> Iterator[Finding]:
    """Tell how much room the data directory has."""
    directory = data_directory()
    while not directory.exists():
        directory = directory.parent
    usage = shutil.disk_usage(directory)
    detail = f"{usage.free / 1024**3:.1f} GiB free of {usage.total / 1024**3:.0f} at {directory}"
    if usage.free < MINIMUM_FREE_BYTES:
        yield problem("disk", detail, "free space, or name another --data-dir")
    elif usage.free < MINIMUM_FREE_SHARE * usage.total:
        yield warning("disk", detail, "free space, or shorten SENTINEL_RETENTION_DAYS")
    else:
        yield ok("disk", detail)


def check_open_files() -> Iterator[Finding]:
    """Tell whether processes may open enough files and sockets."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < MINIMUM_OPEN_FILES:
        yield warning("open files", f"limit {limit}", f"raise it: ulimit -n {MINIMUM_OPEN_FILES}")


# In the order of the report.
PROBES: dict[str, Callable[[], Iterator[Finding]]] = {
    "installation": check_installation,
    "secret key": check_secret_key,
    "configuration": check_configuration,
    "postgres": check_postgres,
    "redis": check_redis,
    "log": check_log,
    "crc32c": check_crc32c,
    "compression": check_codecs,
    "clock": check_clock,
    "disk": check_disk,
    "open files": check_open_files,
}
