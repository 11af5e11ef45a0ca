"""How a worker's process died, as its parent saw it: the proof that a record can kill."""

from __future__ import annotations

import os
import socket


def worker_name(*, pid: int | None = None) -> str:
    """Return the name of a process on this host, by default this one: "host:pid", as in `PartitionCursor.worker`."""
    return f"{socket.gethostname()}:{os.getpid() if pid is None else pid}"
