"""Row 38b: at the same offsets stand other records than before: in a topic, a log, a cluster that took the old one's place."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ingestion.models import HaltReason
from sentinel import ports
from sentinel.child import wait_until
from sentinel.services.kafka import Kafka
from tests.faults.arena import PARTITIONS, Arena, Arenas
from tests.faults.load import Load, Shares
from tests.faults.servers import Server
from tests.faults.test_row_24_recreated_topic import recreate

pytestmark = pytest.mark.fault

FIRST_SECONDS = 5.0
# More than a partition had before.
REFILL_EVENTS = 16_000
HALT_SECONDS = 120.0
# Of records that take the place of others nothing is expected below the cursor.
ALL_VALID = Shares(invalid=0.0, late=0.0)


def test_row_38b_a_topic_recreated_after_the_dispatch_halts_what_was_dispatched(arenas: Arenas) -> None:
    with arenas.open(row="38b-topic", fault="topic recreated between dispatch and read") as arena:
        ingest_some(arena)
        arena.crew.stop("worker")
        refill(arena, seed=1, events=1_000)
        assert wait_until(lambda: dispatched(arena) == PARTITIONS, timeout_seconds=60)
        arena.crew.stop("bridge")
        with arena.fault(recovers=False):
            recreate(arena)
            refill(arena, seed=2)
            before = arena.witness.cursors()
            arena.start("worker")
            wait_until_halted(arena)
            assert positions(arena) == [(row[0], row[1]) for row in before]
        # The bridge closes what is gone, and reads the new topic from its beginning.
        arena.start("bridge")
        assert wait_until(lambda: len(arena.witness.cursor_rows()) == 2 * PARTITIONS, timeout_seconds=60)
        arena.finish()
        closed = [row for row in arena.witness.cursor_rows() if row.is_closed]
    assert [row.halted_because for row in closed] == [HaltReason.LOG_REPLACED] * PARTITIONS


def test_row_38b_a_log_that_was_truncated_and_refilled_halts_until_it_is_accepted(arenas: Arenas) -> None:
    with arenas.open(row="38b-log", fault="log truncated and refilled") as arena:
        ingest_some(arena)
        before = positions(arena)
        with arena.fault(recovers=False):
            arena.kill("kafka")
            for partition in range(PARTITIONS):
                shutil.rmtree(arena.servers.directory / "kafka" / "log" / f"{arena.topic}-{partition}")
            arena.start_server("kafka")
            refill(arena, seed=1)
            wait_until_halted(arena)
            assert positions(arena) == before
        accept(arena)
        arena.finish()


def test_row_38b_a_worker_that_is_pointed_at_another_cluster_stores_nothing_of_it(arenas: Arenas) -> None:
    with (
        arenas.open(row="38b-cluster", fault="worker pointed at another cluster") as arena,
        other_cluster(arena) as other,
    ):
        arena.start_load(per_second=800)
        time.sleep(FIRST_SECONDS)
        with arena.fault() as fault:
            arena.crew.stop("worker")
            before = positions(arena)
            arena.start("worker-astray", "worker", environment={"SENTINEL_BROKERS": other.url})
            wait_until_halted(arena)
            assert positions(arena) == before
            arena.crew.stop("worker-astray")
            arena.start("worker")
            fault.back()
            accept(arena)
        arena.finish()


def ingest_some(arena: Arena) -> None:
    """Let the reference fold, and the pipeline ingest, the same records."""
    arena.start_load(per_second=800)
    time.sleep(FIRST_SECONDS)
    assert arena.drain()
    arena.fold()


def refill(arena: Arena, *, seed: int, events: int = REFILL_EVENTS) -> None:
    """Send other events, as fast as it goes."""
    arena.start_load(per_second=None, events=events, seed=arena.seed + seed, shares=ALL_VALID, settled=False)
    arena.load.wait()
    arena.load.stop()


@contextmanager
def other_cluster(arena: Arena) -> Iterator[Server]:
    """Give a broker of another cluster with a topic of the same name, in which other events stand."""
    directory = arena.directory / "other"
    (directory / "logs").mkdir(parents=True)
    server = Server(Kafka(directory, port=ports.any_free_port()), log_directory=directory / "logs")
    server.start()
    try:
        load = Load(
            brokers=server.url,
            topic=arena.topic,
            partitions=PARTITIONS,
            seed=arena.seed + 1,
            per_second=None,
            events=REFILL_EVENTS,
        )
        arena.servers.create_topic(arena.topic, partitions=PARTITIONS, brokers=server.url)
        load.start()
        load.wait()
        load.stop()
        yield server
    finally:
        server.kill()


def dispatched(arena: Arena) -> int:
    """Return for how many partitions a range waits for a worker."""
    return int(
        arena.witness.value(
            "SELECT count(*) FROM ingestion_partitioncursor WHERE ended_attempt < attempt AND started_at IS NULL"
        )
    )


def positions(arena: Arena) -> list[tuple[int, int]]:
    """Return where each partition's cursor stands."""
    return sorted((row.partition, row.next_offset) for row in arena.witness.cursor_rows())


def wait_until_halted(arena: Arena) -> None:
    """Return once every partition is halted because its log holds other records."""

    def halted() -> bool:
        return [row.halted_because for row in arena.witness.cursor_rows()] == [HaltReason.LOG_REPLACED] * PARTITIONS

    assert wait_until(halted, timeout_seconds=HALT_SECONDS), arena.witness.cursors()


def accept(arena: Arena) -> None:
    """Go on with the log as it is now."""
    done = arena.json("partitions", "resume", "--all", "--yes", "--accept-log")
    assert len(done["resumed"]) == PARTITIONS, done
