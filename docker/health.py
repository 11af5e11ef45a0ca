"""The image's health check: whether the process of this container does its work. Exit code 0 or 1, one line.

Which process that is says the command line of process 1. A web process answers; the others listen on no port, so what
stands behind them is asked whether it has heard from this container lately:

- bridge and alerts read PostgreSQL every second or so: a database session of theirs has changed state;
- worker and beat talk to Redis at least every 30 s: a connection of theirs has sent a command.

A process that hangs is therefore as unhealthy as one whose database is away.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 5
SILENT_SECONDS = 90
WEB_PORT = 8080


class Unhealthy(Exception):
    """The process does not work; the message says what was seen."""


def web(_role: str) -> None:
    """Ask for readiness, under a host name that the process accepts."""
    host = os.environ.get("SENTINEL_ALLOWED_HOSTS", "").split(",")[0].strip().lstrip(".*") or "localhost"
    connection = http.client.HTTPConnection("127.0.0.1", WEB_PORT, timeout=TIMEOUT_SECONDS)
    connection.request("GET", "/health/ready", headers={"Host": host})
    response = connection.getresponse()
    if response.status != http.HTTPStatus.OK:
        raise Unhealthy(f"/health/ready answers {response.status}: {response.read(300).decode('utf-8', 'replace')}")


def database_client(role: str) -> None:
    """Ask PostgreSQL for a session of this container's `role` that has changed state lately."""
    import psycopg2

    connection = psycopg2.connect(os.environ["DATABASE_URL"], connect_timeout=TIMEOUT_SECONDS)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
            " AND client_addr IS NOT DISTINCT FROM inet_client_addr() AND state_change > now() - %s * interval '1 s'",
            [f"sentinel-{role}", SILENT_SECONDS],
        )
        if cursor.fetchone() == (0,):
            raise Unhealthy(f"PostgreSQL has not heard from {role} for {SILENT_SECONDS} s")


def broker_client(role: str) -> None:
    """Ask Redis for a connection of this container that has sent a command lately."""
    import redis

    client: Any = redis.Redis.from_url(
        os.environ["REDIS_URL"], socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
    )
    own = client.client_info()
    here = own["addr"].rpartition(":")[0]
    for other in client.client_list():
        same_container = other["addr"].rpartition(":")[0] == here and str(other["id"]) != str(own["id"])
        if same_container and int(other["idle"]) <= SILENT_SECONDS:
            return
    raise Unhealthy(f"Redis has not heard from {role} for {SILENT_SECONDS} s")


CHECKS: dict[str, Callable[[str], None]] = {
    "web": web,
    "bridge": database_client,
    "alerts": database_client,
    "worker": broker_client,
    "beat": broker_client,
}


def role_of(command_line: bytes) -> str | None:
    """Return which of Sentinel's processes a NUL-separated command line starts, None if it starts none."""
    return next((word for word in command_line.decode("utf-8", "replace").split("\0") if word in CHECKS), None)


def main() -> int:
    """Check the process of this container."""
    role = role_of(Path("/proc/1/cmdline").read_bytes())
    if role is None:  # A command that ends by itself.
        return 0
    try:
        CHECKS[role](role)
    except Exception as error:  # noqa: BLE001  # Whatever it meets, Docker wants an exit code and one line.
        print(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
