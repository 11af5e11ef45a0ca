"""Row 28: everything that one tenant sends is invalid, and it is much; another tenant is on the same workers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from itertools import cycle

import pytest

from tests.faults.arena import PARTITIONS, Arena, Arenas
from tests.faults.differences import differences
from tests.faults.invalid import INVALID
from tests.faults.load import Kind
from tests.faults.reference import Reference
from tests.faults.setting import read_setting
from tests.faults.witness import Witness

pytestmark = pytest.mark.fault

FLOOD = 20_000
KEPT_AN_HOUR = 500
QUIET_SECONDS = 6.0
DISCOVERY_SECONDS = 60.0
# Below half of what is bearable a delay may more than double.
SHORT_SECONDS = 1.0
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
# The oldest record of a batch came after the last record of the one before.
_DELAY = """
    SELECT percentile_disc(0.99) WITHIN GROUP (ORDER BY delay) FROM (
        SELECT extract(epoch FROM pg_xact_commit_timestamp(b.xmin))::float8
               - lag(b.anchor_timestamp_ms) OVER (PARTITION BY b.cursor_id ORDER BY b.start_offset) / 1000.0 AS delay,
               b.created_at
        FROM ingestion_batch b JOIN ingestion_partitioncursor c ON c.id = b.cursor_id WHERE c.topic = %s
    ) d WHERE created_at BETWEEN to_timestamp(%s) AND to_timestamp(%s)
"""


def test_row_28_a_flood_of_invalid_records_is_counted_and_delays_no_other_tenant(arenas: Arenas) -> None:
    with arenas.open(row="28", fault="a tenant sends nothing but invalid records") as arena:
        topic = add_tenant(arena)
        try:
            arena.start_load(per_second=500)
            values = spoiled(arena)
            began_at = time.time()
            time.sleep(QUIET_SECONDS)
            with arena.fault() as fault:
                flood(arena, topic, values)
            before = arena.witness.value(_DELAY, arena.topic, began_at, fault.began_at)
            during = arena.witness.value(_DELAY, arena.topic, fault.began_at, fault.back_at)
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
    assert KEPT_AN_HOUR <= kept < 0.1 * FLOOD
    assert during <= 2 * max(before, SHORT_SECONDS) * arena.slowness


def add_tenant(arena: Arena) -> str:
    """Add a project with a topic of its own and a small quota; return the topic once the bridge serves it."""
    topic = f"{arena.topic}.flooded"
    arena.servers.create_topic(topic, partitions=PARTITIONS)
    arena.witness.execute(_PROJECT, KEPT_AN_HOUR)
    arena.witness.execute(_TOPIC, topic)
    return topic


def spoiled(arena: Arena) -> Sequence[bytes]:
    """Return records of which none is an event."""
    events = arena.load.events_to_come(FLOOD)
    # Without a key a record needs a value.
    return [change(event.value) or b"" for change, event in zip(cycle(INVALID.values()), events, strict=False)]


def flood(arena: Arena, topic: str, values: Sequence[bytes]) -> None:
    """Send the records as fast as it goes, and return when all were ingested."""
    load = arena.new_load(topic=topic, events=0)
    load.start()
    for value in values:
        load.send(value, kind=Kind.INVALID)
    load.stop()
    with closing(Witness(arena.database_url, topic=topic)) as witness:
        witness.wait_until_stored(FLOOD, timeout_seconds=DISCOVERY_SECONDS)


def check_flooded(arena: Arena, topic: str) -> None:
    """Compare what became of the flood with the reference."""
    reference = Reference(arena.log, read_setting(arena.witness, topic), topic)
    reference.advance()
    found = differences(reference, arena.database_url)
    assert found.holds, found
