"""The web process's listening socket: opened once by the supervisor and inherited by every run of the web process.

No other program can take the port between two runs, and clients that connect meanwhile wait instead of being refused.
"""

from __future__ import annotations

import errno
import socket

from sentinel import ports
from sentinel.installation import InstallationError

DEFAULT_PORT = 8080
ATTEMPTS = 100
BACKLOG = 1024
ANY_ADDRESS = {"0.0.0.0": ports.LOOPBACK, "::": "::1"}  # noqa: S104  # where to reach them from this machine


class Listener:
    """A socket that listens on `host`; `fileno` is inheritable."""

    def __init__(self, listening: socket.socket, *, host: str) -> None:
        self._socket = listening
        self._socket.set_inheritable(True)
        self.host = host
        self.port = int(listening.getsockname()[1])

    @property
    def url(self) -> str:
        """Return the URL to open on this machine."""
        host = ANY_ADDRESS.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can connect."""
        return self.host in {ports.LOOPBACK, "::1", "localhost"}

    def fileno(self) -> int:
        """Return the descriptor to inherit."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


def open_listener(host: str, port: int | None) -> Listener:
    """Listen on `port`; for None on the usual one or the next that is free. Raise `InstallationError` if none is."""
    wanted = [port] if port is not None else list(range(DEFAULT_PORT, DEFAULT_PORT + ATTEMPTS))
    for candidate in wanted:
        try:
            return Listener(_listen(host, candidate), host=host)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                reason = error.strerror or str(error)
                raise InstallationError(
                    f"cannot listen on {host}: {reason}", hint="choose another --host or --port"
                ) from error
    raise InstallationError(
        f"port {wanted[0]} is used by {ports.user_of(wanted[0])}", hint="choose another one with --port"
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)
