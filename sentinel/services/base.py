"""What an embedded service is to whoever runs it: the supervisor, the tests."""

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


class Service(ABC):
    """One embedded server that keeps its data below `directory`.

    The order of calls is `prepare`, then a `Child` of `command()`, `is_ready` until it answers True, `after_start`.
    After a crash the same order holds again, with the same address, so that clients only have to reconnect.
    """

    name: ClassVar[str]
    variable: ClassVar[str]
    start_timeout_seconds: ClassVar[float] = 30.0

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @abstractmethod
    def prepare(self) -> None:
        """Make what must stand on disk before the server starts; nothing if it does already. May take seconds.

        Raise `ServiceUnavailable` if this machine lacks something.
        """

    @abstractmethod
    def command(self) -> Command:
        """Return how to run the server; call it after `prepare`."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Tell whether the server answers; returns within a second and never raises for a server that is not there."""

    def after_start(self) -> None:  # noqa: B027  # most services need nothing
        """Make what needs a running server (a role, a database); nothing if it is there already."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Return the value of `variable` that leads to the server; it may hold a password."""

    @property
    @abstractmethod
    def address(self) -> str:
        """Return where the server listens, for people: without a password."""

    @property
    def port(self) -> int | None:
        """Return the TCP port, None for a server on a socket in the file system."""
        return None

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
