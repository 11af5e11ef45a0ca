"""Kill what ingests, under load: nothing is lost or doubled, and the verdicts are those of an undisturbed run.

The aim of the design is a second for a worker's child and five for anything else; the bounds here leave room for a
loaded machine, and the figures are printed (`pytest -rP`).
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import redis

from sentinel import runtime
from sentinel.child import wait_until
from sentinel.demo.sink import KafkaSink
from sentinel.runtime import ProcessRecord, State
from tests.faults.load import Load
from tests.faults.witness import Witness
from tests.installation import Installation, environment, running_installation

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
PARTITIONS = 4
EVENTS_PER_SECOND = 1_500
WARM_UP_SECONDS = 3.0
# After each recovery, so that what is slow to fail shows before the next kill.
SETTLE_SECONDS = 1.5
DRAIN_SECONDS = 60.0
CHILD_BOUND_SECONDS = 5.0
BOUND_SECONDS = 15.0
# On a machine so loaded that undisturbed partitions stand still for longer than this, everything may take longer.
USUAL_STANDSTILL_SECONDS = 0.5

VERDICTS = "SELECT event_id::text, metric, severity, baseline_mean, z_score FROM detection_anomaly"


@dataclass(frozen=True)
class Kill:
    """One process killed: how long until its successor was ready, and what that cost the slowest partition.

    `standstill_seconds` is the longest time without a commit since the kill, `recovery_seconds` since the successor is
    ready: how long it takes to start says more about the machine than about what is tested here.
    """

    ready_seconds: float
    standstill_seconds: float
    recovery_seconds: float


@dataclass
class Storm:
    """A running installation, what was sent to it, and what its kills cost."""

    installation: Installation
    witness: Witness
    load: Load
    kills: dict[str, Kill] = field(default_factory=dict)
    undisturbed_seconds: float = 0.0
    redis_run_ids: list[str] = field(default_factory=list)
    keys_that_survived: int = 0

    @property
    def record(self) -> runtime.Runtime:
        record = runtime.read(self.installation.directory)
        assert record is not None
        return record

    def process(self, name: str) -> ProcessRecord:
        return next(item for item in self.record.processes if item.name == name)

    def measure_undisturbed(self) -> None:
        """Measure how long a partition stands still while nothing is killed, once all are served."""
        self.witness.wait_until_all_commit_after(time.time(), partitions=PARTITIONS)
        began_at = time.time()
        time.sleep(WARM_UP_SECONDS)
        self.undisturbed_seconds = self.witness.longest_standstill(since=began_at, until=time.time())
        print(f"undisturbed: longest standstill of a partition {self.undisturbed_seconds:.2f} s")

    @property
    def slowness(self) -> float:
        """Return how much longer than usual this machine takes now, at least 1."""
        return max(1.0, self.undisturbed_seconds / USUAL_STANDSTILL_SECONDS)

    def kill(self, name: str) -> tuple[float, float]:
        """Kill a process that the supervisor looks after; return when, and when its successor was ready."""
        before = self.process(name)
        assert before.pid is not None
        at = time.time()
        psutil.Process(before.pid).kill()
        assert wait_until(lambda: self._is_back(name, before.restarts), timeout_seconds=60, poll_seconds=0.02)
        return at, time.time()

    def _is_back(self, name: str, restarts: int) -> bool:
        found = self.process(name)
        return found.restarts > restarts and found.state is State.READY

    @contextmanager
    def measured(self, name: str) -> Iterator[list[tuple[float, float]]]:
        """Measure the kill that the block appends, once every partition has recovered from it."""
        kills: list[tuple[float, float]] = []
        yield kills
        ((at, back_at),) = kills
        self.witness.wait_until_all_commit_after(back_at, partitions=PARTITIONS)
        time.sleep(SETTLE_SECONDS)
        until = time.time()
        kill = Kill(
            ready_seconds=back_at - at,
            standstill_seconds=self.witness.longest_standstill(since=at, until=until),
            recovery_seconds=self.witness.longest_standstill(since=back_at, until=until),
        )
        self.kills[name] = kill
        print(
            f"{name}: successor ready after {kill.ready_seconds:.2f} s, longest standstill of a partition "
            f"{kill.standstill_seconds:.2f} s, {kill.recovery_seconds:.2f} s of it with the successor ready"
        )


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storm]:
    """Give an installation after all kills, drained, with the load stopped."""
    load = Load(per_second=EVENTS_PER_SECOND, seed=11)
    with running_installation(tmp_path_factory.mktemp("kills")) as installation:
        record = runtime.read(installation.directory)
        assert record is not None
        witness = Witness(record.environment["DATABASE_URL"])
        found = Storm(installation, witness, load)
        load.start(KafkaSink([record.environment["SENTINEL_BROKERS"]], "llm.telemetry", security={}))
        found.measure_undisturbed()
        try:
            kill_worker_child(found)
            kill_process(found, "bridge")
            kill_redis(found)
            kill_process(found, "worker")
        finally:
            load.stop()
        witness.wait_until_stored(load.distinct + load.duplicates, timeout_seconds=DRAIN_SECONDS)
        yield found
        witness.close()


def kill_worker_child(storm: Storm) -> None:
    with storm.measured("worker child") as kills:
        child, held = child_in_a_batch(storm)
        kills.append((time.time(), time.time()))  # Its siblings are there already.
        child.kill()
        print(f"killed a worker child in phase {held}")


def child_in_a_batch(storm: Storm) -> tuple[psutil.Process, str]:
    """Stop a child of the worker in the middle of a batch: its attempt stands still although its lock is held."""
    pid = storm.process("worker").pid
    for attempt in range(200):
        children = psutil.Process(pid).children()
        child = children[attempt % len(children)]
        child.suspend()
        before = storm.witness.attempts()
        time.sleep(0.1)
        still = [phase for key, (_, phase) in before.items() if storm.witness.attempts().get(key) == before[key]]
        if still:
            return child, still[0]
        child.resume()
        time.sleep(0.03)
    pytest.fail("no child was met in the middle of a batch")


def kill_process(storm: Storm, name: str) -> None:
    with storm.measured(name) as kills:
        kills.append(storm.kill(name))


def kill_redis(storm: Storm) -> None:
    with redis.Redis.from_url(storm.record.environment["REDIS_URL"]) as client:
        client.set("only-in-memory", 1)
        storm.redis_run_ids.append(run_id(client))
    with storm.measured("redis") as kills:
        kills.append(storm.kill("redis"))
        with redis.Redis.from_url(storm.record.environment["REDIS_URL"]) as client:
            storm.keys_that_survived = int(client.exists("only-in-memory"))
            storm.redis_run_ids.append(run_id(client))


def run_id(client: redis.Redis) -> str:
    info: Any = client.info("server")
    return str(info["run_id"])


def test_a_partition_whose_worker_child_was_killed_goes_on_at_once(storm: Storm) -> None:
    assert storm.kills["worker child"].standstill_seconds <= CHILD_BOUND_SECONDS * storm.slowness


@pytest.mark.parametrize("name", ["bridge", "redis", "worker"])
def test_ingestion_goes_on_soon_after_a_killed_process_is_back(storm: Storm, name: str) -> None:
    assert storm.kills[name].recovery_seconds <= BOUND_SECONDS * storm.slowness


def test_redis_came_back_empty(storm: Storm) -> None:
    before, after = storm.redis_run_ids
    assert before != after
    assert storm.keys_that_survived == 0


def test_every_event_is_stored_once(storm: Storm) -> None:
    counted = storm.witness.rows("SELECT count(*), count(DISTINCT event_id) FROM events")
    assert counted == [(storm.load.distinct, storm.load.distinct)]


def test_the_audit_holds_and_finds_every_duplicate(storm: Storm) -> None:
    found = storm.installation.json("audit")
    assert found["holds"]
    assert sum(item["duplicates"] for item in found["partitions"]) == storm.load.duplicates
    assert not any(item["lag"] or item["rejected"] or item["late"] for item in found["partitions"])


def test_no_partition_is_halted(storm: Storm) -> None:
    assert storm.witness.value("SELECT count(*) FROM ingestion_partitioncursor WHERE halted_reason <> ''") == 0


def test_the_installation_still_ingests(storm: Storm) -> None:
    assert storm.record.is_ready
    assert storm.installation.json("send", "--wait")["stored"]


def test_the_verdicts_are_those_of_an_undisturbed_run(storm: Storm) -> None:
    mine = storm.witness.rows(VERDICTS)
    with reference_run(storm) as reference:
        theirs = reference.rows(VERDICTS)
    assert len(mine) > 100
    assert sorted(mine, key=repr) == sorted(theirs, key=repr)


@contextmanager
def reference_run(storm: Storm) -> Iterator[Witness]:
    """Give a second database on the same server, filled from the same topic by a single pipeline."""
    record = storm.record
    storm.witness.execute("CREATE DATABASE reference")
    url = urlsplit(record.environment["DATABASE_URL"])._replace(path="/reference").geturl()
    variables = {
        **environment(storm.installation.directory),
        **record.environment,
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "sentinel.settings",
        # Its baselines in Redis are not those of the installation.
        "SENTINEL_INSTALLATION": "reference",
    }
    command = [sys.executable, "-m", "tests.faults.reference"]
    subprocess.run(command, cwd=REPOSITORY, env=variables, check=True, timeout=120)
    reference = Witness(url)
    yield reference
    reference.close()
