"""Row 28: everything that one tenant sends is invalid, and it is much; another tenant is on the same workers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import cycle, islice
from typing import NamedTuple

import numpy as np
import pytest

from sentinel.cli.worker import MINIMUM_CONCURRENCY
from tests.faults.arena import PARTITIONS, Arena, Arenas
from tests.faults.differences import differences
from tests.faults.invalid import INVALID
from tests.faults.load import Kind
from tests.faults.reference import Reference
from tests.faults.setting import read_setting
from tests.faults.witness import Witness

pytestmark = pytest.mark.fault

# What 50,000 a second are in two seconds. All are in the log before the bridge learns of their topic, and so come at
# once, without a producer that takes the machine from what is measured.
FLOOD = 100_000
# Made once each and sent again and again: what is no event has no identity.
DISTINCT = 200 * len(INVALID)
KEPT_AN_HOUR = 500
QUIET_SECONDS = 6.0
DISCOVERY_SECONDS = 60.0
# Twice as long is still no longer than an idle bridge may wait before it looks for records.
SHORT_SECONDS = 0.25
_PROJECT = """
    INSERT INTO ingestion_project (slug, name, retention_days, text_policy, keep_embeddings, pseudonymise, pseudonym_key,
                                   dead_letters_per_hour, created_at)
    SELECT 'flooded', 'Flooded', retention_days, text_policy, false, false, '\\x00', %s, now() FROM ingestion_project
    WHERE slug = 'default'
"""
_TOPIC = """
    INSERT INTO ingestion_topic (name, project_id, receives_http)
    SELECT %s, id, false FROM ingestion_project WHERE slug = 'flooded'
"""
_COMMITS = """
    SELECT c.partition, b.start_offset, b.end_offset, extract(epoch FROM pg_xact_commit_timestamp(b.xmin))::float8
    FROM ingestion_batch b JOIN ingestion_partitioncursor c ON c.id = b.cursor_id WHERE c.topic = %s
"""
_BEGAN = """
    SELECT extract(epoch FROM min(b.created_at))::float8
    FROM ingestion_batch b JOIN ingestion_partitioncursor c ON c.id = b.cursor_id WHERE c.topic = %s
"""


class Ingested(NamedTuple):
    """A record: when the log took it, in seconds since 1970, and how long after that its batch was committed."""

    logged_at: float
    delay_seconds: float


def test_row_28_a_flood_of_invalid_records_is_counted_and_delays_no_other_tenant(arenas: Arenas) -> None:
    with arenas.open(row="28", fault="a tenant sends nothing but invalid records") as arena:
        topic = f"{arena.topic}.flooded"
        arena.servers.create_topic(topic, partitions=PARTITIONS)
        try:
            prepare_flood(arena, topic)
            arena.start_load(per_second=500)
            quiet_from = time.time()
            time.sleep(QUIET_SECONDS)
            with arena.fault() as fault:
                flood(arena, topic)
            arena.drain()
            delays = list(ingested(arena))
            began_at = arena.witness.value(_BEGAN, topic)
            before = p99(delays, quiet_from, fault.began_at)
            during = p99(delays, began_at, fault.back_at)
            arena.remarks.append(f"p99 of the other tenant's delay {before:.2f} s, then {during:.2f} s")
            check_flooded(arena, topic)
            arena.finish()
        finally:
            arena.servers.delete_topic(topic)
        kept, counted = arena.witness.rows(
            "SELECT count(*) FILTER (WHERE reason <> 'over_quota'), sum(records) FROM ingestion_deadletter d "
            "JOIN ingestion_project p ON p.id = d.project_id WHERE p.slug = 'flooded'"
        )[0]
    assert counted == FLOOD
    # Each process counts for itself for some seconds.
    assert KEPT_AN_HOUR <= kept <= KEPT_AN_HOUR * max(MINIMUM_CONCURRENCY, len(os.sched_getaffinity(0)))
    assert during <= 2 * max(before, SHORT_SECONDS * arena.slowness)


def prepare_flood(arena: Arena, topic: str) -> None:
    """Put the flood into a topic that nobody reads yet."""
    load = arena.new_load(topic=topic, events=0)
    load.start()
    for value in islice(cycle(spoiled(arena)), FLOOD):
        load.send(value, kind=Kind.INVALID)
    load.stop()


def spoiled(arena: Arena) -> Sequence[bytes]:
    """Return records of which none is an event."""
    events = arena.load.events_to_come(DISTINCT)
    # Without a key a record needs a value.
    return [change(event.value) or b"" for change, event in zip(cycle(INVALID.values()), events, strict=False)]


def flood(arena: Arena, topic: str) -> None:
    """Give the topic to a project with a small quota, and return when all of it was ingested."""
    arena.witness.execute(_PROJECT, KEPT_AN_HOUR)
    arena.witness.execute(_TOPIC, topic)
    with closing(Witness(arena.database_url, topic=topic)) as witness:
        witness.wait_until_stored(FLOOD, timeout_seconds=DISCOVERY_SECONDS)


def ingested(arena: Arena) -> Iterator[Ingested]:
    """Yield what became of the records of the other tenant."""
    for partition, start, end, committed_at in arena.witness.rows(_COMMITS, arena.topic):
        chunk = arena.log.read(arena.topic, partition, start, end, max_bytes=2**30)
        for record in chunk.records:
            logged_at = record.timestamp_ms / 1000
            yield Ingested(logged_at, committed_at - logged_at)


def p99(delays: Sequence[Ingested], since: float, until: float) -> float:
    """Return the 99th percentile of the delays of records that came within this time, in seconds."""
    return float(np.percentile([item.delay_seconds for item in delays if since <= item.logged_at <= until], 99))


def check_flooded(arena: Arena, topic: str) -> None:
    """Compare what became of the flood with the reference."""
    reference = Reference(arena.log, read_setting(arena.witness, topic), topic)
    reference.advance()
    found = differences(reference, arena.database_url)
    assert found.holds, found
