"""Messages between the tests and the processes that they started: one JSON object each, over a socket that keeps them apart."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any

MAX_BYTES = 1 << 20

Message = dict[str, Any]


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected ends for `Channel`."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


@dataclass(frozen=True, slots=True)
class Channel:
    """One end."""

    socket: socket.socket

    def say(self, **message: Any) -> None:
        """Send one message; raises `OSError` where nobody is left to hear it."""
        self.socket.send(json.dumps(message).encode())

    def hear(self) -> Message | None:
        """Wait for the next message; None when the other end is closed. Raises `TimeoutError`."""
        received = self.socket.recv(MAX_BYTES)
        message: Message | None = json.loads(received) if received else None
        return message

    def close(self) -> None:
        self.socket.close()
