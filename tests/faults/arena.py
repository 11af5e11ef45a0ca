"""A row of the fault matrix: bridge and worker over a database and a topic of their own, a load, faults, the verdict.

    @pytest.mark.fault
    def test_row_06_a_killed_pool_child_costs_a_second(arenas: Arenas) -> None:
        with arenas.open(row="06", fault="pool child, kill -9") as arena:
            arena.start_load(per_second=1_500)
            for _ in range(5):
                with arena.fault() as fault:
                    arena.kill_busy_child(fault)
            figures = arena.finish()
        assert figures.standstill_max_seconds <= 1.0 * arena.slowness

`arenas.open` starts one bridge and one worker (`roles=()` for none) with `environment` on top: failpoints, limits,
another build. More of them: `arena.start("worker-2", "worker", environment={…})`, `arena.crew.stop("bridge")`,
`arena.restart("worker", environment={…})`. Failpoints: `environment=arena.failpoints("before_commit=kill:once")`, and
`arena.hits()` tells which were met; limits and clocks: `prefix=["prlimit", "--nofile=64"]`. Who ends by itself is
started again, as under `sentinel up`.

`arena.kill(name)` and its siblings take "bridge", "worker", "postgres", "redis" and "kafka". A server stays dead until
`arena.start_server(name)`.

`with arena.fault() as fault:` encloses one fault. It began when the block was entered (or at `fault.begin()`), and the
service is back when the block is left (or at `fault.back()`); then every partition must commit again. Needs a load
that goes on. `arena.fault(recovers=False)` measures nothing.

`arenas.open(kind=PostgresArena, …)` gives a row without Kafka (`tests.faults.postgres_arena`).

`arena.finish()` stops the load, waits until everything is ingested, checks all invariants, writes the figures and
raises AssertionError where an invariant is broken. A negative control calls `arena.examine()` instead, and looks at
`found.broken`.

Records that no row lets through belong to the load: `arena.load.send(value, kind=Kind.POISON)`. What the log holds in
the end decides what is expected; the load's own account is compared with it. Before records are deleted from the log,
call `arena.fold()`.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

import psycopg2
from kafka.errors import KafkaError

from ingestion.log.base import Log, LogUnavailable
from ingestion.log.kafka import KafkaLog
from sentinel.child import wait_until
from tests.faults import figures as report
from tests.faults.differences import Differences, Invariant, differences
from tests.faults.figures import Figures, median_and_max
from tests.faults.handles import Handles
from tests.faults.invariants import cache, quiet
from tests.faults.load import Load
from tests.faults.machine import cpu_slowness
from tests.faults.reference import Reference
from tests.faults.servers import Servers
from tests.faults.setting import read_setting
from tests.faults.witness import Witness

PARTITIONS = 4
DRAIN_SECONDS = 120.0
RECOVERY_SECONDS = 90.0
# After each recovery, so that what is slow to fail shows before the next fault.
SETTLE_SECONDS = 0.7
# What a row takes itself, on a machine that does nothing else.
UNDISTURBED_SECONDS = 1.5
USUAL_STANDSTILL_SECONDS = 0.5
USUAL_LOAD_PER_CORE = 2.0
MOST_SLOWNESS = 4.0
BUSY = 2.0
ROLES = ("bridge", "worker")
SEED_VARIABLE = "SENTINEL_FAULTS_SEED"


@dataclass(slots=True)
class Fault:
    """One injected fault; times in seconds since 1970.

    `standstill_seconds` is the longest time without a commit of any partition since the fault, `recovery_seconds` since
    the service is back.
    """

    began_at: float = field(default_factory=time.time)
    back_at: float = 0.0
    standstill_seconds: float | None = None
    recovery_seconds: float | None = None
    notes: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Say that the fault begins only now."""
        self.began_at = time.time()

    def back(self) -> None:
        """Say that the service is back now, before the block ends."""
        self.back_at = time.time()

    def note(self, text: object) -> None:
        """Keep a remark for the output."""
        self.notes.append(str(text))


class Arena(Handles):
    """One row, while its `with` block runs; made by `Arenas.open`."""

    log_environment: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self, servers: Servers, *, row: str, fault: str, partitions: int, seed: int, environment: Mapping[str, str]
    ) -> None:
        self.row, self.seed = row, seed
        self.faults: list[Fault] = []
        self.remarks: list[str] = []
        self.undisturbed_seconds = 0.0
        self.cpu_slowness = cpu_slowness()
        self._fault_name, self._began_at = fault, time.monotonic()
        self._partitions = partitions
        self.name = f"row-{row}-{uuid.uuid4().hex[:6]}"
        self.topic = f"llm.{self.name}"
        directory = servers.directory / self.name
        (directory / "logs").mkdir(parents=True)
        self.database_url = servers.new_database(self.name, topic=self.topic)
        own = {
            "SENTINEL_DATA_DIR": str(directory),
            "DATABASE_URL": self.database_url,
            "SENTINEL_INSTALLATION": self.name,
            "SENTINEL_TOPIC": self.topic,
        }
        super().__init__(
            servers,
            directory=directory,
            environment={**servers.environment, **self.log_environment, **own, **environment},
            witness=Witness(self.database_url, topic=self.topic),
            rng=random.Random(seed),
        )
        self.log = self.make_log()
        self.reference = Reference(self.log, read_setting(self.witness, self.topic), self.topic)
        self.load: Load = self.new_load()

    # --- log and load ------------------------------------------------------------------------------------------------

    def make_log(self) -> Log:
        """Make the row's topic and return the log that holds it, to be read by the test."""
        self.servers.create_topic(self.topic, partitions=self._partitions)
        return KafkaLog([self.servers.kafka.url], security={}, request_timeout_seconds=10)

    def remove_log(self) -> None:
        """Remove what `make_log` has made."""
        self.servers.delete_topic(self.topic)

    @property
    def load_defaults(self) -> dict[str, Any]:
        return {"partitions": self._partitions, "seed": self.seed, "topic": self.topic}

    def new_load(self, **options: Any) -> Load:
        """Return a load for the row's topic, not yet started; `options` as of `Load`."""
        return Load(**{"brokers": self.servers.kafka.url, **self.load_defaults, **options})

    def start_load(self, *, settled: bool = True, **options: Any) -> Load:
        """Start the load and, if `settled`, wait until every partition commits."""
        self.load = self.new_load(**options)
        self.load.start()
        if settled:
            self.wait_until_all_commit()
            self.undisturbed_seconds = self.undisturbed(seconds=UNDISTURBED_SECONDS)
        return self.load

    @property
    def slowness(self) -> float:
        """How much longer than usual everything takes on this machine now, 1 to 4: for bounds of time.

        No more than that: a pipeline that has become slower must not get longer bounds for it.
        """
        waiting = os.getloadavg()[0] / len(os.sched_getaffinity(0)) / USUAL_LOAD_PER_CORE
        undisturbed = self.undisturbed_seconds / USUAL_STANDSTILL_SECONDS
        return min(max(1.0, undisturbed, waiting, self.cpu_slowness), MOST_SLOWNESS)

    def wait_until_all_commit(self, *, timeout_seconds: float = RECOVERY_SECONDS) -> None:
        """Return once every partition has committed a batch from now on."""
        self.witness.wait_until_all_commit_after(
            time.time(), partitions=self.load.partitions, timeout_seconds=timeout_seconds
        )

    def undisturbed(self, *, seconds: float) -> float:
        """Return the longest standstill of a partition while nothing is wrong, in seconds: what this machine can do."""
        began_at = time.time()
        time.sleep(seconds)
        return self.witness.longest_standstill(since=began_at, until=time.time())

    def members(self) -> int:
        """Return how many bridges the group has; 0 while its coordinator is not there yet."""
        with closing(self.servers.admin()) as admin, suppress(KafkaError):
            (found,) = admin.describe_groups([f"sentinel.v1.{self.name}"]).values()
            return len(found["members"])
        return 0

    def owners(self) -> dict[int, str]:
        """Return which bridge, by its id in the group, reads each partition; empty while they share them out anew."""
        with closing(self.servers.admin()) as admin, suppress(KafkaError):
            (found,) = admin.describe_groups([f"sentinel.v1.{self.name}"]).values()
            if found["group_state"] == "Stable":
                return {
                    partition: member["member_id"]
                    for member in found["members"]
                    for topic in member["member_assignment"]["assigned_partitions"]
                    for partition in topic["partitions"]
                }
        return {}

    # --- faults ------------------------------------------------------------------------------------------------------

    def kill_busy_child(self, fault: Fault, name: str = "worker") -> None:
        """SIGKILL a child of a worker in the middle of a batch, with which the fault begins."""
        child, phase = self.busy_child(name)
        fault.begin()
        child.kill()
        fault.note(phase)

    @contextmanager
    def fault(self, *, recovers: bool = True) -> Iterator[Fault]:
        """Enclose one fault; afterwards every partition must commit again."""
        fault = Fault()
        yield fault
        fault.back_at = fault.back_at or time.time()
        self.faults.append(fault)
        if recovers:
            self._measure(fault)
        print(f"row {self.row}: {fault}")

    def count_hits(self) -> None:
        """Count every hit of a failpoint as a fault, which lasts until each partition has committed again."""
        hits = self.hits()
        self.wait_until_all_commit()
        for at, _, point in hits:
            seconds = self.witness.seconds_until_all_commit(at)
            self.faults.append(Fault(at, at, standstill_seconds=seconds, recovery_seconds=seconds, notes=[point]))
            print(f"row {self.row}: {point} {seconds:.2f} s")

    def _measure(self, fault: Fault) -> None:
        self.witness.wait_until_all_commit_after(
            fault.back_at, partitions=self.load.partitions, timeout_seconds=RECOVERY_SECONDS
        )
        time.sleep(SETTLE_SECONDS)
        until = time.time()
        fault.standstill_seconds = self.witness.longest_standstill(since=fault.began_at, until=until)
        fault.recovery_seconds = self.witness.longest_standstill(since=fault.back_at, until=until)

    # --- the end -----------------------------------------------------------------------------------------------------

    def drain(self, *, timeout_seconds: float = DRAIN_SECONDS) -> bool:
        """Stop the load and wait until the cursors stand at the log's end; return whether they do.

        Returns early where every partition that lags is halted.
        """
        self.crew.wake()
        self.load.stop()
        ends = self._ends()

        def lagging() -> list[int]:
            try:
                rows = {row.partition: row for row in self.witness.cursor_rows() if not row.is_closed}
            except psycopg2.Error:
                return [-1]
            return [
                partition
                for partition, end in ends.items()
                if partition not in rows or (rows[partition].next_offset < end and not rows[partition].halted_because)
            ]

        return wait_until(lambda: not lagging(), timeout_seconds=timeout_seconds, poll_seconds=0.1)

    def _ends(self) -> dict[int, int]:
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            try:
                found = self.log.partitions([self.topic])
                ends = self.log.end_offsets([(self.topic, item.partition) for item in found])
                return {partition: end for (_, partition), end in ends.items()}
            except LogUnavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def fold(self) -> None:
        """Let the reference fold what the log holds; a broker that has just started may take a moment."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            try:
                return self.reference.advance()
            except LogUnavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def examine(self, *, drain_seconds: float = DRAIN_SECONDS) -> Differences:
        """Stop the load, let everything be ingested, stop the processes, and return what does not hold."""
        drained = self.drain(timeout_seconds=drain_seconds)
        left = Differences()
        with self.servers.redis_client() as client:
            if drained:
                quiet.check(self.witness, client, left, installation=self.name)
            slow = self.crew.close()
            quiet.check_processes(self.crew.groups, left)
            left.add_all(Invariant.NO_DEADLOCK, "ended:", self.servers.deadlocks(self.name))
            self.fold()
            found = differences(self.reference, self.database_url)
            if not cache.check(self.reference, self.witness, client, found, installation=self.name):
                self.remarks.append("no baselines were left in Redis to compare")
        if slow:
            self.remarks.append(f"{', '.join(slow)} had to be killed in the end")
        found.merge(left)
        for text in self.load.disagreements(self.reference)[:3]:
            found.add(Invariant.EVERY_RECORD_ONCE, f"the load disagrees with the log: {text}")
        return found

    def finish(self, *, allowed: frozenset[Invariant] = frozenset(), drain_seconds: float = DRAIN_SECONDS) -> Figures:
        """Examine, write the figures, and raise AssertionError where an invariant is broken that is not `allowed`.

        A row that ends halted on purpose allows NOT_HALTED and CHAIN_OF_BATCHES.
        """
        found = self.examine(drain_seconds=drain_seconds)
        figures = self.figures(found)
        # A row counts once its own test has passed as well (conftest.py).
        report.PENDING.append(figures)
        print(figures)
        assert found.broken <= allowed, f"seed {self.seed}\n{found}"
        assert found.events, "nothing was ingested at all"
        return figures

    def figures(self, found: Differences) -> Figures:
        standstills = [f.standstill_seconds for f in self.faults if f.standstill_seconds is not None]
        recoveries = [f.recovery_seconds for f in self.faults if f.recovery_seconds is not None]
        standstill, recovery = median_and_max(standstills), median_and_max(recoveries)
        return Figures(
            row=self.row,
            fault=self._fault_name,
            records=found.records,
            events=found.events,
            anomalies=found.anomalies,
            faults=len(self.faults),
            standstill_p50_seconds=standstill[0],
            standstill_max_seconds=standstill[1],
            recovery_p50_seconds=recovery[0],
            recovery_max_seconds=recovery[1],
            lost=found.lost,
            doubled=found.doubled,
            verdicts_differing=found.verdicts_differing,
            broken=tuple(sorted(found.broken)),
            remarks="; ".join(self._all_remarks()),
            seed=self.seed,
            seconds=round(time.monotonic() - self._began_at, 1),
            measured_on=time.strftime("%Y-%m-%d", time.gmtime()),
            machine=report.this_machine(),
        )

    def _all_remarks(self) -> Iterator[str]:
        yield from self.remarks
        if self.slowness > BUSY:
            yield f"the machine was {self.slowness:.0f} times as slow as usual"

    def close(self) -> None:
        """End what is left, also after a failed test; the row's database and topic go."""
        self.crew.wake()
        for name in self.crew.names:
            self.crew.remove(name)
        self.crew.close()
        self.load.abandon()
        self.witness.close()
        self.log.close()
        self.servers.ensure()
        self.servers.drop_database(self.name)
        self.remove_log()


class Arenas:
    """Opens the rows of one test session on the same servers."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers

    @contextmanager
    def open(
        self,
        *,
        row: str,
        fault: str,
        partitions: int = PARTITIONS,
        seed: int | None = None,
        environment: Mapping[str, str] | None = None,
        roles: Sequence[str] = ROLES,
        kind: type[Arena] = Arena,
    ) -> Iterator[Arena]:
        """Give a running installation of the row's own; SENTINEL_FAULTS_SEED sets the seed, which is printed."""
        self.servers.ensure()
        if seed is None:
            seed = int(os.environ.get(SEED_VARIABLE) or random.SystemRandom().randrange(10**6))
        print(f"row {row}: seed {seed}")
        arena = kind(
            self.servers, row=row, fault=fault, partitions=partitions, seed=seed, environment=environment or {}
        )
        try:
            for name in roles:
                arena.launch(name)
            arena.crew.wait_until_ready()
            yield arena
        except BaseException:
            print(arena.crew.logs())
            raise
        finally:
            arena.close()
