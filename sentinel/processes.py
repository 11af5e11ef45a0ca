"""Sentinel's own processes, as `sentinel up` runs them. Each is a command of its own for whoever runs it elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sentinel.child import Command
from sentinel.listener import Listener
from sentinel.ready import VARIABLE as READINESS_VARIABLE
from sentinel.ready import ReadinessSocket
from sentinel.services.base import Runnable
from sentinel.services.sockets import create_socket_directory, socket_directory


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


class NotifyingProcess(Runnable):
    """A process that notifies when it is ready, over a socket below `directory`."""

    name: str = ""

    def __init__(self, name: str, *, directory: Path) -> None:
        self.name = name
        self._directory = directory
        self._readiness: ReadinessSocket | None = None

    def prepare(self) -> None:
        """Open the socket on which the process will say that it is ready."""
        sockets = socket_directory(self._directory, "ready")
        create_socket_directory(sockets)
        if self._readiness is not None:
            self._readiness.close()
        self._readiness = ReadinessSocket(sockets / self.name)

    def readiness_environment(self) -> Mapping[str, str]:
        """Return what tells the process where to notify; call it after `prepare`."""
        assert self._readiness is not None, "prepare() comes first"
        return {READINESS_VARIABLE: str(self._readiness.path), "PYTHONUNBUFFERED": "1"}

    def is_ready(self) -> bool:
        return self._readiness is not None and self._readiness.was_notified()


class SentinelProcess(NotifyingProcess):
    """One of Sentinel's processes with its environment."""

    start_timeout_seconds = 60.0

    def __init__(
        self, process: Process, *, directory: Path, environment: Mapping[str, str], listener: Listener
    ) -> None:
        super().__init__(process.name, directory=directory)
        self._process = process
        self._environment = environment
        self._listener = listener

    def command(self) -> Command:
        listening = (self._listener.fileno(),) if self._process.listens else ()
        return Command(
            argv=(sys.executable, "-m", "sentinel.cli.main", self.name, *(f"--fd={number}" for number in listening)),
            environment={**self._environment, "SENTINEL_ROLE": self.name, **self.readiness_environment()},
            descriptors=listening,
            stop_seconds=self._process.stop_seconds,
        )

    @property
    def address(self) -> str | None:
        return self._listener.url if self._process.listens else None

    @property
    def port(self) -> int | None:
        return self._listener.port if self._process.listens else None
