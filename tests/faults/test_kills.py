"""Kill what ingests, one after the other, under one load: nothing is lost or doubled, and the verdicts are the same.

The aim of the design is a second for a worker's child and five for anything else; the bounds here leave room for a
loaded machine, and the figures are printed (`pytest -rP`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis

from tests.faults.arena import Arena, Arenas, Fault
from tests.faults.differences import Differences, Invariant
from tests.faults.load import Kind, Shares

pytestmark = [pytest.mark.fault, pytest.mark.quick, pytest.mark.slow]

EVENTS_PER_SECOND = 1_500
CHILD_BOUND_SECONDS = 5.0
BOUND_SECONDS = 15.0


@dataclass
class Storm:
    """What the kills cost, and what was there after them."""

    kills: dict[str, Fault] = field(default_factory=dict)
    sent: dict[Kind, int] = field(default_factory=dict)
    redis_run_ids: list[str] = field(default_factory=list)
    keys_that_survived: int = 0
    slowness: float = 1.0
    audit: dict[str, Any] = field(default_factory=dict)
    stored: int = 0
    receipt: dict[str, Any] = field(default_factory=dict)
    found: Differences = field(default_factory=Differences)


@pytest.fixture(scope="module")
def storm(arenas: Arenas) -> Iterator[Storm]:
    """Give what came of an installation after all kills, drained, with the load stopped."""
    found = Storm()
    with arenas.open(row="kills", fault="pool child, bridge, Redis and worker, kill -9 one after the other") as arena:
        arena.start_load(per_second=EVENTS_PER_SECOND, shares=Shares(duplicates=0.005, invalid=0.0, late=0.0))
        kill_child(arena, found)
        kill_process(arena, found, "bridge")
        kill_redis(arena, found)
        kill_process(arena, found, "worker")
        found.slowness = arena.slowness
        assert arena.drain(), arena.witness.cursors()
        found.sent = dict(arena.load.sent)
        found.stored = arena.witness.value("SELECT count(*) FROM events")
        found.audit = arena.json("audit")
        found.receipt = arena.json("send", "--wait")
        found.found = arena.examine()
        yield found


def kill_child(arena: Arena, storm: Storm) -> None:
    with arena.fault() as fault:
        arena.kill_busy_child(fault)  # Its siblings are there already.
    storm.kills["worker child"] = fault


def kill_process(arena: Arena, storm: Storm, name: str) -> None:
    with arena.fault() as fault:
        arena.kill(name)
        arena.wait_until_back(name)
    storm.kills[name] = fault


def kill_redis(arena: Arena, storm: Storm) -> None:
    with arena.servers.redis_client() as client:
        client.set("only-in-memory", 1)
        storm.redis_run_ids.append(run_id(client))
    with arena.fault() as fault:
        arena.kill("redis")
        arena.start_server("redis")
    storm.kills["redis"] = fault
    with arena.servers.redis_client() as client:
        storm.keys_that_survived = int(client.exists("only-in-memory"))
        storm.redis_run_ids.append(run_id(client))


def run_id(client: redis.Redis) -> str:
    info: Any = client.info("server")
    return str(info["run_id"])


def test_a_partition_whose_worker_child_was_killed_goes_on_at_once(storm: Storm) -> None:
    standstill = storm.kills["worker child"].standstill_seconds
    assert standstill is not None
    assert standstill <= CHILD_BOUND_SECONDS * storm.slowness


@pytest.mark.parametrize("name", ["bridge", "redis", "worker"])
def test_ingestion_goes_on_soon_after_a_killed_process_is_back(storm: Storm, name: str) -> None:
    recovery = storm.kills[name].recovery_seconds
    assert recovery is not None
    assert recovery <= BOUND_SECONDS * storm.slowness


def test_redis_came_back_empty(storm: Storm) -> None:
    before, after = storm.redis_run_ids
    assert before != after
    assert storm.keys_that_survived == 0


def test_every_event_is_stored_once(storm: Storm) -> None:
    assert storm.stored == storm.sent[Kind.EVENT]
    assert storm.found.lost == storm.found.doubled == 0


def test_the_audit_holds_and_finds_every_duplicate(storm: Storm) -> None:
    assert storm.audit["holds"]
    assert sum(item["duplicates"] for item in storm.audit["partitions"]) == storm.sent[Kind.DUPLICATE]
    assert not any(item["lag"] or item["rejected"] or item["late"] for item in storm.audit["partitions"])


def test_no_partition_is_halted(storm: Storm) -> None:
    assert Invariant.NOT_HALTED not in storm.found.broken


def test_the_installation_still_ingests(storm: Storm) -> None:
    assert storm.receipt["stored"]


def test_the_verdicts_are_those_of_an_undisturbed_run(storm: Storm) -> None:
    assert storm.found.anomalies > 100
    assert storm.found.verdicts_differing == 0


def test_every_invariant_holds(storm: Storm) -> None:
    assert storm.found.holds, storm.found
