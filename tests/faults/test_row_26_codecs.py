"""Row 26: every compression, and transactions that are committed and aborted between other producers' records."""

from __future__ import annotations

import re

import pytest
from kafka import KafkaProducer

from tests.faults.arena import PARTITIONS, Arena, Arenas
from tests.faults.load import Load

pytestmark = pytest.mark.fault

CODECS = [None, "gzip", "snappy", "lz4", "zstd"]
RECORDS_PER_CODEC = 4_000
TRANSACTIONS = 30
RECORDS_PER_TRANSACTION = 40
ABORT_EVERY = 3


def test_row_26_every_codec_is_read_and_of_transactions_what_was_committed(arenas: Arenas) -> None:
    with arenas.open(row="26", fault="all codecs, committed and aborted transactions") as arena:
        arena.start_load(per_second=300)
        loads = [start(arena, codec, seed=number) for number, codec in enumerate(CODECS, start=1)]
        committed, aborted = run_transactions(arena)
        for load in loads:
            load.wait()
            load.stop()
        figures = arena.finish()
        stored = {found for (found,) in arena.witness.stream("SELECT event_id::text FROM events")}
        control = arena.witness.value("SELECT sum(control) FROM ingestion_batch")
        assert not [text for load in loads for text in load.disagreements(arena.reference)]
    assert committed <= stored
    assert not aborted & stored
    # A transaction leaves a marker in every partition that it has written to.
    assert control == len(aborted) + TRANSACTIONS * PARTITIONS
    assert figures.records == arena.load.acknowledged + sum(load.acknowledged for load in loads) + len(committed)


def start(arena: Arena, codec: str | None, *, seed: int) -> Load:
    """Send events with a compression of their own, as fast as it goes."""
    load = arena.new_load(compression=codec, events=RECORDS_PER_CODEC, per_second=None, seed=arena.seed + seed)
    load.start()
    return load


def run_transactions(arena: Arena) -> tuple[set[str], set[str]]:
    """Run transactions over all partitions, one after the other; return the ids of committed and aborted events."""
    ids: tuple[set[str], set[str]] = (set(), set())
    producer = KafkaProducer(bootstrap_servers=arena.servers.kafka.url, transactional_id=arena.name)
    producer.init_transactions()
    for number in range(TRANSACTIONS):
        producer.begin_transaction()
        aborts = number % ABORT_EVERY == 0
        for place, event in enumerate(arena.load.events_to_come(RECORDS_PER_TRANSACTION)):
            producer.send(arena.topic, value=event.value, partition=place % PARTITIONS)
            ids[aborts].add(event_id(event.value))
        producer.flush()
        if aborts:
            producer.abort_transaction()
        else:
            producer.commit_transaction()
    producer.close()
    return ids


def event_id(value: bytes) -> str:
    """Return the id in the JSON of an event."""
    found = re.search(rb'"event_id":"([^"]+)"', value)
    assert found is not None
    return found[1].decode()
