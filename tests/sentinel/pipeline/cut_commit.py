"""A way to PostgreSQL that loses the answer to one COMMIT: the server has done it, and nobody hears of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import connection

COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"


class CommitCutter:
    """Forwards between TCP on loopback and PostgreSQL's socket until a COMMIT passes; then it cuts the connection."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cuts_left = 0
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            threading.Thread(target=self._forward_requests, args=(client, server), daemon=True).start()
            threading.Thread(target=_forward, args=(server, client), daemon=True).start()

    def _forward_requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65_536):
                if self.cuts_left and data.endswith(COMMIT):
                    self.cuts_left -= 1
                    self.cuts += 1
                    # Nothing comes back from now on; the server finds out when it answers.
                    client.shutdown(socket.SHUT_RDWR)
                    server.sendall(data)
                    return
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def _forward(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


@contextmanager
def through_cutter() -> Iterator[CommitCutter]:
    """Lead this thread's database connection through a cutter."""
    settings = connection.settings_dict
    host, port = settings["HOST"], settings["PORT"]
    cutter = CommitCutter(f"{host}/.s.PGSQL.{port or 5432}")
    connection.close()
    settings.update(HOST="127.0.0.1", PORT=str(cutter.port))
    try:
        yield cutter
    finally:
        connection.close()
        settings.update(HOST=host, PORT=port)
        cutter.close()
