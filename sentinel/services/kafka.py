"""Embedded Kafka: one node in KRaft mode, broker and controller in one process."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from sentinel import ports
from sentinel.child import Command
from sentinel.services.base import Service, ServiceUnavailable
from sentinel.services.kafka_archive import ensure_jars

PREFERRED_PORT = 9092
MINIMUM_JAVA = 17
JAVA_HINT = "install Java 17 or later (package openjdk-17-jre-headless), or set SENTINEL_BROKERS"
HEAP = "-Xmx512m"
LOGGING = (
    "showDateTime=true",
    "dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSX",
    "defaultLogLevel=info",
    "showThreadName=false",
)


class Kafka(Service):
    """A Kafka broker on the loopback interface."""

    name = "kafka"
    variable: ClassVar[str] = "SENTINEL_BROKERS"
    start_timeout_seconds = 60.0

    def __init__(
        self, directory: Path, *, port: int | None = None, partitions: int = 4, advertised_port: int | None = None
    ) -> None:
        super().__init__(directory)
        self._port = port or ports.free_port(PREFERRED_PORT)
        # Where clients are sent: another port where something stands between them and the broker.
        self._advertised_port = advertised_port or self._port
        self._controller_port = ports.any_free_port()
        self._partitions = partitions
        self._data = directory / "kafka"
        self._java: str | None = None
        self._jars: Path | None = None

    def prepare(self) -> None:
        self._java = find_java()
        self._jars = ensure_jars()
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write_properties()
        if not (self._data / "log" / "meta.properties").exists():
            self._format()

    def _write_properties(self) -> None:
        settings = _properties(
            self._data / "log",
            port=self._port,
            advertised_port=self._advertised_port,
            controller_port=self._controller_port,
            partitions=self._partitions,
        )
        lines = (f"{name}={value}\n" for name, value in settings.items())
        self._properties_file.write_text("".join(lines), encoding="utf-8")

    @property
    def _properties_file(self) -> Path:
        return self._data / "server.properties"

    def _format(self) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        if cluster_id.startswith("-"):  # It would read as an option.
            cluster_id = "A" + cluster_id[1:]
        result = subprocess.run(
            [*self._run("kafka.tools.StorageTool"), "format", "-t", cluster_id, "-c", self._properties_file],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if result.returncode:
            # An unfinished directory would look like a formatted one.
            shutil.rmtree(self._data / "log", ignore_errors=True)
            reason = (result.stderr or result.stdout).strip().splitlines()[-1:]
            raise ServiceUnavailable(f"Kafka's storage could not be made: {' '.join(reason)}", hint=JAVA_HINT)

    def _run(self, main_class: str) -> list[str]:
        assert self._java is not None, "prepare() comes first"
        logging = [f"-Dorg.slf4j.simpleLogger.{name}" for name in LOGGING]
        return [self._java, HEAP, *logging, "-cp", f"{self._jars}/*", main_class]

    def command(self) -> Command:
        return Command(
            argv=(*self._run("kafka.Kafka"), str(self._properties_file)),
            directory=self._data,
            stop_seconds=30.0,
            orphan_signal=signal.SIGTERM,
        )

    def is_ready(self) -> bool:
        # The port opens once the broker is registered and has recovered its log.
        return ports.answers(self._port)

    @property
    def url(self) -> str:
        return f"{ports.LOOPBACK}:{self._advertised_port}"

    @property
    def address(self) -> str:
        return f"{ports.LOOPBACK}:{self._port}"

    @property
    def port(self) -> int:
        return self._port


def _properties(
    data: Path, *, port: int, advertised_port: int, controller_port: int, partitions: int
) -> Mapping[str, object]:
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{ports.LOOPBACK}:{controller_port}",
        "listeners": f"PLAINTEXT://{ports.LOOPBACK}:{port},CONTROLLER://{ports.LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{ports.LOOPBACK}:{advertised_port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": data,
        "num.partitions": partitions,
        # A misspelt topic is an error for its producer, not a topic that nobody reads.
        "auto.create.topics.enable": "false",
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # A broker that was killed may register again after the session of its dead self: 9 s by default.
        "broker.session.timeout.ms": 3_000,
        "broker.heartbeat.interval.ms": 500,
        "group.initial.rebalance.delay.ms": 0,
        "log.retention.hours": 168,
        "message.max.bytes": 2 * 1024 * 1024,
    }


def find_java() -> str:
    """Return the path of Java 17 or later; raise `ServiceUnavailable` if there is none."""
    home = os.environ.get("JAVA_HOME")
    java = (shutil.which("java", path=f"{home}/bin") if home else None) or shutil.which("java")
    if java is None:
        raise ServiceUnavailable("Java is not installed", hint=JAVA_HINT)
    version = java_version(java)
    if version < MINIMUM_JAVA:
        raise ServiceUnavailable(f"Java {version} is too old for Kafka", hint=JAVA_HINT)
    return java


def java_version(java: str) -> int:
    """Return the feature release of a Java (8, 11, 17, ...), 0 if it does not say."""
    answer = subprocess.run([java, "-version"], check=False, capture_output=True, text=True, timeout=30).stderr
    match = re.search(r'version "(?:1\.)?(\d+)', answer)
    return int(match.group(1)) if match else 0
