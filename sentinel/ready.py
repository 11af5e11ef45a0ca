"""Telling the supervisor that a process is ready, by the protocol of systemd's sd_notify(3).

`sentinel up` and systemd (Type=notify) name a datagram socket in NOTIFY_SOCKET; without one nothing is sent.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

VARIABLE = "NOTIFY_SOCKET"


def notify_ready() -> None:
    """Say that this process is ready to work; nobody listening is no error."""
    address = os.environ.get(VARIABLE)
    if not address:
        return
    if address.startswith("@"):  # systemd's way to write the abstract namespace
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"READY=1", address)


class ReadinessSocket:
    """The other end: whoever started a process asks here whether it has called `notify_ready`."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(path))

    def was_notified(self) -> bool:
        """Tell, once per notification, whether one has arrived."""
        with suppress(BlockingIOError):
            while message := self._socket.recv(4096):
                if b"READY=1" in message.splitlines():
                    return True
        return False

    def close(self) -> None:
        """Remove the socket."""
        self._socket.close()
        self.path.unlink(missing_ok=True)
