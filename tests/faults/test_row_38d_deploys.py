"""Row 38d: ten minutes in which Kafka times out again and again, and deploys signal the whole process group.

Nothing of it is held against a record.
"""

from __future__ import annotations

import time
from itertools import cycle

import pytest

from tests.faults.arena import Arena, Arenas
from tests.faults.detour import REQUEST_TIMEOUT_SECONDS, behind
from tests.faults.proxy import Fault, Link, Proxy

pytestmark = [pytest.mark.fault, pytest.mark.slow]

TOTAL_SECONDS = 600.0
HANGING_SECONDS = REQUEST_TIMEOUT_SECONDS + 4.0
# Less than a task waits for the broker: a deploy then comes while every worker waits.
BEFORE_DEPLOY_SECONDS = 4.0
DEPLOY_BOUND_SECONDS = 10.0
HANGING_BOUND_SECONDS = REQUEST_TIMEOUT_SECONDS + 30.0


def test_row_38d_deploys_and_timeouts_are_no_strikes(arenas: Arenas) -> None:
    with (
        Proxy() as proxy,
        behind(arenas.servers, link := proxy.link()) as servers,
        Arenas(servers).open(row="38d", fault="group SIGTERM and Kafka time-outs for 10 min") as arena,
    ):
        arena.start_load(per_second=200)
        until = time.monotonic() + TOTAL_SECONDS
        for act in cycle([deploy, hang, hang, hang_and_deploy]):
            act(arena, link)
            assert strikes(arena) == 0
            if time.monotonic() > until:
                break
        timed_out = len(arena.lines("worker", "ingest.attempt_failed"))
        arena.remarks.append(f"{timed_out} attempts failed, 0 strikes")
        arena.finish()
        died = arena.lines("bridge", "because=died")
        suspected = arena.witness.value("SELECT count(*) FROM ingestion_partitioncursor WHERE suspected_build <> ''")
    assert timed_out > 0
    assert died == []
    assert suspected == 0


def deploy(arena: Arena, link: Link) -> None:
    """Let the worker be replaced, its whole group signalled."""
    with arena.fault() as fault:
        arena.terminate("worker", group=True)
        arena.wait_until_back("worker")
    assert fault.recovery_seconds is not None
    assert fault.recovery_seconds <= DEPLOY_BOUND_SECONDS * arena.slowness


def hang(arena: Arena, link: Link, *, deployed: bool = False) -> None:
    """Let Kafka swallow everything until requests have timed out."""
    with arena.fault() as fault:
        link.spoil(Fault(blackhole=True))
        time.sleep(BEFORE_DEPLOY_SECONDS)
        if deployed:
            arena.terminate("worker", group=True)
        time.sleep(HANGING_SECONDS - BEFORE_DEPLOY_SECONDS)
        link.heal()
        fault.back()
        if deployed:
            arena.wait_until_back("worker")
    assert fault.recovery_seconds is not None
    assert fault.recovery_seconds <= HANGING_BOUND_SECONDS * arena.slowness


def hang_and_deploy(arena: Arena, link: Link) -> None:
    """Let the worker be replaced while it waits for Kafka."""
    hang(arena, link, deployed=True)


def strikes(arena: Arena) -> int:
    """Return how many deaths are held against records now."""
    return int(arena.witness.value("SELECT sum(strikes + lone_strikes + lone_deaths) FROM ingestion_partitioncursor"))
