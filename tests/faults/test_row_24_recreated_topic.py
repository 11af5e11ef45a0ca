"""Row 24: the topic is deleted with records that were not ingested yet, and created again."""

from __future__ import annotations

import time

import pytest

from sentinel.child import wait_until
from tests.faults.arena import PARTITIONS, Arena, Arenas
from tests.faults.load import Shares

pytestmark = pytest.mark.fault

FIRST_SECONDS = 8.0
BACKLOG_EVENTS = 2_000
BOUND_SECONDS = 15.0
# Of records that nobody can read again nothing is expected.
ALL_VALID = Shares(invalid=0.0, late=0.0)
_GAPS = """
    SELECT c.partition, g.start_offset, g.end_offset, g.reason
    FROM ingestion_gap g JOIN ingestion_partitioncursor c ON c.id = g.cursor_id WHERE c.closed_at IS NOT NULL ORDER BY 1
"""
_BEGINNINGS = """
    SELECT min(b.start_offset) FROM ingestion_batch b JOIN ingestion_partitioncursor c ON c.id = b.cursor_id
    WHERE c.closed_at IS NULL GROUP BY c.id
"""


def test_row_24_of_a_recreated_topic_the_old_ends_in_a_gap_and_the_new_begins_at_its_beginning(arenas: Arenas) -> None:
    with arenas.open(row="24", fault="topic deleted and created again") as arena:
        arena.start_load(per_second=1_000)
        time.sleep(FIRST_SECONDS)
        assert arena.drain()
        arena.fold()
        arena.crew.stop("worker")
        lost = add_backlog(arena)
        with arena.fault():
            recreate(arena)
            arena.start_load(per_second=1_000, seed=arena.seed + 2, settled=False)
            arena.start("worker")
        alarms = arena.lines("bridge", "partition.closed")
        figures = arena.finish()
        gaps = arena.witness.rows(_GAPS)
        beginnings = arena.witness.rows(_BEGINNINGS)
    assert gaps == [(partition, *range_, "topic_recreated") for partition, range_ in sorted(lost.items())]
    assert beginnings == [(0,)] * PARTITIONS
    assert len(alarms) == PARTITIONS
    assert figures.recovery_max_seconds is not None
    assert figures.recovery_max_seconds <= BOUND_SECONDS * arena.slowness


def add_backlog(arena: Arena) -> dict[int, tuple[int, int]]:
    """Send records that no worker takes; return the range of each partition, once the bridge has seen its end."""
    arena.start_load(per_second=None, events=BACKLOG_EVENTS, seed=arena.seed + 1, shares=ALL_VALID, settled=False)
    arena.load.wait()
    arena.load.stop()
    ends = arena.log.end_offsets([(arena.topic, partition) for partition in range(PARTITIONS)])
    rows = arena.witness.cursor_rows()

    def seen() -> bool:
        found = arena.witness.rows("SELECT topic, partition, log_end FROM ingestion_partitioncursor")
        return {(topic, partition): end for topic, partition, end in found} == ends

    assert wait_until(seen, timeout_seconds=60)
    return {row.partition: (row.next_offset, ends[arena.topic, row.partition]) for row in rows}


def recreate(arena: Arena) -> None:
    """Delete the topic and create it again once it is gone."""
    arena.servers.delete_topic(arena.topic)
    assert wait_until(lambda: not arena.log.partitions([arena.topic]), timeout_seconds=60)
    arena.servers.create_topic(arena.topic, partitions=PARTITIONS)
    assert wait_until(lambda: len(arena.log.partitions([arena.topic])) == PARTITIONS, timeout_seconds=60)
