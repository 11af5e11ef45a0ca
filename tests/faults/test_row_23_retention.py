"""Row 23: retention was faster than ingestion: records that were not ingested yet are gone."""

from __future__ import annotations

import time
from contextlib import closing

import pytest
from kafka import TopicPartition

from tests.faults.arena import PARTITIONS, Arena, Arenas
from tests.faults.load import Shares

pytestmark = pytest.mark.fault

FIRST_SECONDS = 8.0
BACKLOG_SECONDS = 6.0
BOUND_SECONDS = 10.0
# Of records that nobody can read again nothing is expected.
ALL_VALID = Shares(invalid=0.0, late=0.0)


def test_row_23_what_retention_took_is_one_gap_of_each_partition_with_an_alarm(arenas: Arenas) -> None:
    with arenas.open(row="23", fault="records deleted before they were ingested") as arena:
        arena.start_load(per_second=1_000)
        time.sleep(FIRST_SECONDS)
        assert arena.drain()
        arena.fold()
        arena.crew.stop("worker")
        arena.start_load(per_second=1_000, seed=arena.seed + 1, shares=ALL_VALID, settled=False)
        time.sleep(BACKLOG_SECONDS)
        with arena.fault():
            taken = take_half_of_the_backlog(arena)
            arena.start("worker")
        alarms = arena.lines("bridge", "partition.gap")
        figures = arena.finish()
        gaps = arena.witness.rows(
            "SELECT c.partition, g.start_offset, g.end_offset, g.reason "
            "FROM ingestion_gap g JOIN ingestion_partitioncursor c ON c.id = g.cursor_id ORDER BY 1"
        )
    assert gaps == [(partition, start, end, "retention") for partition, (start, end) in sorted(taken.items())]
    assert len(alarms) == PARTITIONS
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness


def take_half_of_the_backlog(arena: Arena) -> dict[int, tuple[int, int]]:
    """Delete records that no worker has read; return the range of each partition."""
    ends = arena.log.end_offsets([(arena.topic, partition) for partition in range(PARTITIONS)])
    taken = {
        row.partition: (row.next_offset, (row.next_offset + ends[arena.topic, row.partition]) // 2)
        for row in arena.witness.cursor_rows()
    }
    assert all(end - start > 100 for start, end in taken.values())
    with closing(arena.servers.admin()) as admin:
        admin.delete_records({TopicPartition(arena.topic, partition): end for partition, (_, end) in taken.items()})
    return taken
