"""Row 25: the topic gets more partitions under load."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from sentinel.child import wait_until
from tests.faults.arena import PARTITIONS, Arenas

pytestmark = pytest.mark.fault

MORE_PARTITIONS = 2 * PARTITIONS
SECONDS = 8.0
# A look at the topics, and a first range.
BOUND_SECONDS = 10.0


def test_row_25_new_partitions_are_read_from_their_beginning(arenas: Arenas) -> None:
    with arenas.open(row="25", fault=f"partitions {PARTITIONS} to {MORE_PARTITIONS}") as arena:
        arena.start_load(per_second=1_000)
        time.sleep(SECONDS)
        old = arena.load
        with arena.fault() as fault:
            with closing(arena.servers.admin()) as admin:
                admin.create_partitions({arena.topic: MORE_PARTITIONS})
            assert wait_until(lambda: len(arena.log.partitions([arena.topic])) == MORE_PARTITIONS, timeout_seconds=30)
            # Series move to other partitions, as they do with a producer that hashes its keys.
            arena.start_load(per_second=1_000, seed=arena.seed + 1, partitions=MORE_PARTITIONS, settled=False)
            old.stop()
            fault.back()
        time.sleep(SECONDS)
        figures = arena.finish()
        assert not old.disagreements(arena.reference)
        begins = arena.witness.rows(
            "SELECT c.partition, min(b.start_offset) FROM ingestion_batch b "
            "JOIN ingestion_partitioncursor c ON c.id = b.cursor_id GROUP BY 1 ORDER BY 1"
        )
    assert begins == [(partition, 0) for partition in range(MORE_PARTITIONS)]
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness
