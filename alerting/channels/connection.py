"""HTTP connections that go only where webhooks may go, and end when their time is up.

`http.client` resolves names itself and limits each read alone; both are replaced here: the name is resolved once, every
address is checked, the socket connects to a checked address and to nothing else (so that a name which resolves
differently a second later changes nothing), and each read gets what is left of one deadline.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, Self, cast

from alerting.address import Network, is_allowed

CONNECT_TIMEOUT_SECONDS = 5.0


class ForbiddenAddress(OSError):
    """The name resolves to nothing that webhooks may connect to."""


class Deadline:
    """A moment on the monotonic clock; each blocking call is given what is left until then."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining_seconds(self, *, at_most: float = float("inf")) -> float:
        """Return the seconds left, raise `TimeoutError` where there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("deadline exceeded")
        return min(left, at_most)


class _Reader(io.RawIOBase):
    """The receiving side of a socket, under the deadline."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._socket = connected
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._socket.settimeout(self._deadline.remaining_seconds())
        return self._socket.recv_into(buffer)


class _DeadlineSocket:
    """As much of a socket as `http.client` uses."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._socket = connected
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(self._deadline.remaining_seconds())
        self._socket.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._socket, self._deadline))

    def close(self) -> None:
        """Leave the socket open: `http.client` closes its own before the body is read; the connection ends with `with`."""


def look_up(host: str, port: int) -> list[str]:
    """Return every address of `host` as text, in the system resolver's order; raise `socket.gaierror` for none."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


# `look_up`, or what a test puts in its place.
Resolver = Callable[[str, int], Sequence[str]]


def resolve(
    host: str,
    port: int,
    *,
    allowed_networks: Sequence[Network],
    resolver: Resolver = look_up,
) -> list[str]:
    """Return the addresses of `host` that a webhook may connect to, in the resolver's order.

    Raises `socket.gaierror` where the name is unknown and `ForbiddenAddress` where nothing is left.
    """
    found = dict.fromkeys(resolver(host, port))
    # A scope (fe80::1%eth0) marks a link-local address; without it the check sees just that.
    allowed = [text for text in found if is_allowed(_address(text), allowed_networks=allowed_networks)]
    if not allowed:
        raise ForbiddenAddress("no address that webhooks may connect to")
    return allowed


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(text.partition("%")[0])


class PinnedConnection(http.client.HTTPConnection):
    """A connection to one of `addresses`, though the `Host` header and TLS name the host; use it with `with`."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        addresses: Sequence[str],
        deadline: Deadline,
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(host, port)
        self.default_port = 443 if tls else 80
        self._addresses = addresses
        self._deadline = deadline
        self._tls = tls
        self._connected: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
        if self._connected is not None:
            self._connected.close()

    def connect(self) -> None:
        self._connected = self._connect_any()
        if self._tls is not None:
            self._connected.settimeout(self._deadline.remaining_seconds())
            self._connected = self._tls.wrap_socket(self._connected, server_hostname=self.host)
        self.sock = cast(socket.socket, _DeadlineSocket(self._connected, self._deadline))

    def _connect_any(self) -> socket.socket:
        """Return a socket connected to the first address that answers; raise the last one's error."""
        failure: OSError = ForbiddenAddress("no address")
        for address in self._addresses:
            try:
                return socket.create_connection(
                    (address, self.port),
                    timeout=self._deadline.remaining_seconds(at_most=CONNECT_TIMEOUT_SECONDS),
                )
            except OSError as error:
                failure = error
        raise failure
