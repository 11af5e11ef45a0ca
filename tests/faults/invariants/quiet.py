"""Once everything is ingested nothing is held, queued or left over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil
import redis

from ingestion.cursor_lock import LOCK_CLASS
from sentinel.child import wait_until
from tests.faults.differences import Differences, Invariant
from tests.faults.witness import Witness

# A worker that has just committed still publishes its baselines and unlocks.
PATIENCE_SECONDS = 10.0

_LOCKS = """
    SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_IDLE = """
    SELECT application_name, now() - xact_start FROM pg_stat_activity
    WHERE datname = current_database() AND state LIKE 'idle in transaction%%' AND application_name <> 'witness'
"""


def check(witness: Witness, client: redis.Redis, found: Differences, *, installation: str) -> None:
    """Look for locks, open transactions and queued tasks that stay."""
    queues = [f"sentinel:{installation}:{name}.v1.{installation}" for name in ("ingest", "ingest-behind")]
    _settle(found, Invariant.NO_LOCK_HELD, "cursor", lambda: witness.rows(_LOCKS, LOCK_CLASS))
    _settle(found, Invariant.NO_IDLE_TRANSACTION, "", lambda: witness.rows(_IDLE))
    _settle(found, Invariant.QUEUE_EMPTY, "", lambda: _queued(client, queues))


def _queued(client: redis.Redis, queues: list[str]) -> list[Any]:
    lists: list[Any] = [client.lrange(name, 0, -1) for name in queues]
    return [task for found in lists for task in found]


def _settle(found: Differences, invariant: Invariant, what: str, look: Callable[[], list[Any]]) -> None:
    if not wait_until(lambda: not look(), timeout_seconds=PATIENCE_SECONDS, poll_seconds=0.1):
        found.add_all(invariant, what, look())


def check_processes(groups: set[int], found: Differences) -> None:
    """Look for processes of these groups, all of which were stopped."""

    def alive() -> list[str]:
        return [
            f"{process.pid} {process.info['name']}"
            for process in psutil.process_iter(["name", "status"])
            if process.info["status"] != psutil.STATUS_ZOMBIE and _group(process.pid) in groups
        ]

    _settle(found, Invariant.NO_ORPHAN_PROCESS, "process", alive)


def _group(pid: int) -> int | None:
    import os

    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
