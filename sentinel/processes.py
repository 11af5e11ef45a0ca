"""Sentinel's own processes, as `sentinel up` runs them. Each is a command of its own for whoever runs it elsewhere."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sentinel import ports
from sentinel.child import Command
from sentinel.ready import VARIABLE as READINESS_VARIABLE
from sentinel.ready import ReadinessSocket
from sentinel.services.base import Runnable
from sentinel.services.sockets import create_socket_directory, socket_directory

LIVENESS_PATH = "/health/live"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A subcommand of `sentinel` that runs until it is told to stop. `listens`: on the web port."""

    name: str
    stop_seconds: float
    listens: bool = False


# In the order of starting; they stop in the reverse order. A worker finishes the batch in its hands first.
PROCESSES = (
    Process(name="bridge", stop_seconds=10),
    Process(name="worker", stop_seconds=30),
    Process(name="beat", stop_seconds=10),
    Process(name="alerts", stop_seconds=30),
    Process(name="web", stop_seconds=10, listens=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebAddress:
    """Where the web process listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Return the URL to open on this machine."""
        host = {"0.0.0.0": ports.LOOPBACK, "::": "[::1]"}.get(self.host, self.host)  # noqa: S104
        return f"http://{host}:{self.port}"


class SentinelProcess(Runnable):
    """One of Sentinel's processes with its environment; it notifies when it is ready, the web process answers."""

    name: str = ""
    start_timeout_seconds = 60.0

    def __init__(self, process: Process, *, directory: Path, environment: Mapping[str, str], web: WebAddress) -> None:
        self.name = process.name
        self._process = process
        self._directory = directory
        self._environment = environment
        self._web = web
        self._readiness: ReadinessSocket | None = None

    def prepare(self) -> None:
        """Open the socket on which the process will say that it is ready."""
        if self._process.listens:
            return
        sockets = socket_directory(self._directory, "ready")
        create_socket_directory(sockets)
        if self._readiness is not None:
            self._readiness.close()
        self._readiness = ReadinessSocket(sockets / self.name)

    def command(self) -> Command:
        environment = {**self._environment, "SENTINEL_ROLE": self.name, "PYTHONUNBUFFERED": "1"}
        arguments: tuple[str, ...] = (self.name,)
        if self._process.listens:
            arguments += ("--host", self._web.host, "--port", str(self._web.port))
        if self._readiness is not None:
            environment[READINESS_VARIABLE] = str(self._readiness.path)
        return Command(
            argv=(sys.executable, "-m", "sentinel.cli.main", *arguments),
            environment=environment,
            stop_seconds=self._process.stop_seconds,
        )

    def is_ready(self) -> bool:
        if self._readiness is not None:
            return self._readiness.was_notified()
        return answers_http(self._web.url, LIVENESS_PATH)

    @property
    def address(self) -> str | None:
        return self._web.url if self._process.listens else None

    @property
    def port(self) -> int | None:
        return self._web.port if self._process.listens else None


def answers_http(url: str, path: str, *, timeout_seconds: float = 0.5) -> bool:
    """Tell whether `url` answers GET `path` with a status below 500."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=timeout_seconds)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
