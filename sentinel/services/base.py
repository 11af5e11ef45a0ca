"""What a child process, and an embedded service in particular, is to whoever runs it: the supervisor, the tests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from sentinel.child import Child, Command, wait_until


class ServiceUnavailable(Exception):
    """An embedded service cannot run here; `hint` says what to install or to set."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(f"{message} ({hint})")
        self.message = message
        self.hint = hint


class Runnable(ABC):
    """Something that runs as a child process and says when it is ready.

    The order of calls is `prepare`, then a `Child` of `command()`, `is_ready` until it answers True, `after_start`.
    After a crash the same order holds again, with the same address, so that clients only have to reconnect.
    """

    start_timeout_seconds: float = 30.0

    @property
    @abstractmethod
    def name(self) -> str:
        """Return the name in `sentinel status` and of the log file."""

    def prepare(self) -> None:  # noqa: B027  # not everything needs it
        """Make what must stand on disk before the process starts; nothing if it does already. May take seconds.

        Raise `ServiceUnavailable` if this machine lacks something.
        """

    @abstractmethod
    def command(self) -> Command:
        """Return how to run the process; call it after `prepare`."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Tell whether the process answers; returns within a second and never raises for one that is not there."""

    def after_start(self) -> None:  # noqa: B027  # not everything needs it
        """Make what needs the running process (a role, a database); nothing if it is there already."""

    @property
    def address(self) -> str | None:
        """Return where it listens, for people: without a password. None for a process that does not listen."""
        return None

    @property
    def port(self) -> int | None:
        """Return the TCP port, None for what listens on none."""
        return None


class Service(Runnable):
    """One embedded server that keeps its data below `directory`."""

    variable: ClassVar[str]

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    @abstractmethod
    def url(self) -> str:
        """Return the value of `variable` that leads to the server; it may hold a password."""

    def environment(self) -> Mapping[str, str]:
        """Return the variables that lead Sentinel's processes to the server."""
        return {self.variable: self.url}


def run_service(service: Service, *, log_directory: Path) -> Child:
    """Start `service`, wait until it answers, and return its process; raise `ServiceUnavailable` if it does not."""
    service.prepare()
    child = Child(service.command(), log_path=log_directory / f"{service.name}.log")
    if (
        not wait_until(
            lambda: service.is_ready() or child.exit_code() is not None, timeout_seconds=service.start_timeout_seconds
        )
        or child.exit_code() is not None
    ):
        child.kill()
        raise ServiceUnavailable(
            f"{service.name} did not start: {' / '.join(child.last_log_lines(3)) or 'it wrote nothing'}",
            hint=f"see {log_directory / service.name}.log",
        )
    service.after_start()
    return child
