"""Row 38: connections stay open and carry nothing any more, both ways: to PostgreSQL, to Redis."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.arena import Arena, Arenas
from tests.faults.proxy import Link, Proxy

pytestmark = pytest.mark.fault

BOUND_SECONDS = 60.0
# The limit of a task is what frees a worker that waits for PostgreSQL; a minute by default.
TASK_SECONDS = 20


@pytest.mark.parametrize("server", ["postgres", "redis"])
def test_row_38_a_half_open_connection_is_given_up_within_a_minute(arenas: Arenas, server: str) -> None:
    limit = {"SENTINEL_TASK_TIME_LIMIT_SECONDS": str(TASK_SECONDS)}
    with (
        Proxy() as proxy,
        arenas.open(row=f"38-{server}", fault=f"half-open TCP to {server}", roles=[], environment=limit) as arena,
    ):
        links = [start_behind_link(arena, proxy, role, server) for role in ("bridge", "worker")]
        arena.start_load(per_second=800)
        with arena.fault() as fault:
            for link in links:
                fault.note(f"{link.connections} connections")
                link.freeze()
        figures = arena.finish()
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS


def start_behind_link(arena: Arena, proxy: Proxy, role: str, server: str) -> Link:
    """Start a bridge or a worker that reaches PostgreSQL or Redis over a link."""
    if server == "postgres":
        link = proxy.link(Path(arena.servers.postgres.service.address or "") / ".s.PGSQL.5432")
        url = f"postgresql://sentinel@127.0.0.1:{link.port}/{arena.name}?sslmode=disable&gssencmode=disable"
        arena.start(role, environment={"DATABASE_URL": url})
    else:
        redis = arena.servers.redis
        link = proxy.link(("127.0.0.1", redis.service.port or 0))
        arena.start(role, environment={"REDIS_URL": redis.url.replace(f":{redis.service.port}/", f":{link.port}/")})
    return link
