"""Random faults, one after another, chosen by a seed: what the soak runs under."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, suppress

import psycopg2
import redis

from tests.faults.arena import Arena

PAUSE_SECONDS = (2.0, 7.0)


class Chaos:
    """Calls one fault after the other on an arena; each brings back what it took."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self.injected: Counter[str] = Counter()

    def run(self, *, seconds: float) -> None:
        """Inject faults until the time is over, with pauses of a few seconds."""
        deadline = time.monotonic() + seconds
        names, weights = zip(*WEIGHTS.items(), strict=True)
        while time.monotonic() < deadline:
            (name,) = self._arena.random.choices(names, weights)
            print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
            FAULTS[name](self._arena)
            self.injected[name] += 1
            time.sleep(self._arena.random.uniform(*PAUSE_SECONDS))


def kill_child(arena: Arena) -> None:
    """Kill one process of the pool, busy or not."""
    with suppress(IndexError, ProcessLookupError):
        arena.random.choice(arena.crew.children("worker")).kill()


def stop_child(arena: Arena) -> None:
    """Stop one process of the pool for a while; whoever waited for it goes on without."""
    with suppress(IndexError, ProcessLookupError):
        child = arena.random.choice(arena.crew.children("worker"))
        child.suspend()
        time.sleep(arena.random.uniform(0.2, 3.0))
        child.resume()


def kill_worker(arena: Arena) -> None:
    """Kill a worker with all its processes."""
    arena.kill("worker")


def terminate_worker(arena: Arena) -> None:
    """Ask a worker, or its whole group, to end: a deploy."""
    arena.terminate("worker", group=arena.random.random() < 0.5)


def kill_bridge(arena: Arena) -> None:
    """Kill the bridge."""
    arena.kill("bridge")


def stop_bridge(arena: Arena) -> None:
    """Stop the bridge for a few seconds: it then acts on what it knew before."""
    arena.suspend("bridge")
    time.sleep(arena.random.uniform(1.0, 4.0))
    arena.resume("bridge")


def kill_server(name: str) -> Callable[[Arena], None]:
    """Return a fault that kills a server and starts it again a moment later."""

    def kill(arena: Arena) -> None:
        arena.kill(name)
        time.sleep(arena.random.uniform(0.0, 2.0))
        arena.start_server(name)

    return kill


def stop_server(name: str) -> Callable[[Arena], None]:
    """Return a fault that lets a server hang for a few seconds."""

    def stop(arena: Arena) -> None:
        arena.suspend(name)
        time.sleep(arena.random.uniform(0.5, 4.0))
        arena.resume(name)

    return stop


def empty_redis(arena: Arena) -> None:
    """Take all tasks and baselines from Redis."""
    with suppress(redis.RedisError), arena.servers.redis_client() as client:
        client.flushall()


def end_sessions(arena: Arena) -> None:
    """End the database sessions of all workers."""
    with suppress(psycopg2.Error):
        arena.witness.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'sentinel-worker' AND datname = current_database()"
        )


def lock_events(arena: Arena) -> None:
    """Lock the table of events for a while."""
    with suppress(psycopg2.Error), closing(psycopg2.connect(arena.database_url)) as session, session.cursor() as sql:
        sql.execute("SET lock_timeout = '3s'; LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        time.sleep(arena.random.uniform(0.5, 3.0))
        session.rollback()


FAULTS: Mapping[str, Callable[[Arena], None]] = {
    "kill a child": kill_child,
    "stop a child": stop_child,
    "kill the worker": kill_worker,
    "terminate the worker": terminate_worker,
    "kill the bridge": kill_bridge,
    "stop the bridge": stop_bridge,
    "kill redis": kill_server("redis"),
    "stop redis": stop_server("redis"),
    "empty redis": empty_redis,
    "kill postgres": kill_server("postgres"),
    "stop postgres": stop_server("postgres"),
    "kill kafka": kill_server("kafka"),
    "stop kafka": stop_server("kafka"),
    "end sessions": end_sessions,
    "lock events": lock_events,
}
# What costs a broker or a database its memory is rarer than what costs a process its life.
WEIGHTS: Mapping[str, float] = {
    name: {"kill a child": 4.0, "kill kafka": 0.5, "kill postgres": 0.7, "kill the worker": 1.0}.get(name, 1.0)
    for name in FAULTS
}
