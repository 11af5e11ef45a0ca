"""TCP ports on the loopback interface."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"


def is_free(port: int, *, host: str = LOOPBACK) -> bool:
    """Tell whether a server could listen on `port` right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port that only waits for old connections to time out is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(preferred: int, *, host: str = LOOPBACK, attempts: int = 100) -> int:
    """Return `preferred` or the next port above it that is free; raise `OSError` if none of `attempts` is."""
    for port in range(preferred, min(preferred + attempts, 65_536)):
        if is_free(port, host=host):
            return port
    raise OSError(f"no port from {preferred} to {preferred + attempts - 1} is free")


def any_free_port(*, host: str = LOOPBACK) -> int:
    """Return a free port chosen by the system."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def user_of(port: int) -> str:
    """Return the name and pid of the program that listens on `port`, "another program" if the system does not say."""
    import psutil

    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass  # Only root may look at the processes of others.
    return "another program"


def answers(port: int, *, host: str = LOOPBACK, timeout_seconds: float = 0.5) -> bool:
    """Tell whether something accepts connections on `port`."""
    try:
        with socket.create_connection((host, port), timeout=timeout_seconds):
            return True
    except OSError:
        return False
