"""What reads the log in PostgreSQL from outside reads what the log itself does."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest
from django.db import connection

from ingestion.log.base import NewRecord, OffsetOutOfRange
from ingestion.log.postgres import PARTITIONS, PostgresLog, append_now
from ingestion.partitions import ensure_partitions
from tests.faults.inbox import Inbox
from tests.faults.witness import Witness, url_of_connection

pytestmark = pytest.mark.django_db(transaction=True)

MANY_BYTES = 10_000_000
RECORDS = [
    NewRecord(None, b"no key"),
    NewRecord(b"a", b"\x00\xff", [("sentinel-scrubbed", b'{"EMAIL":1}'), ("empty", b"")]),
    *[NewRecord(b"%d" % number, b"{}") for number in range(50)],
]


@pytest.fixture
def topic(transactional_db: None) -> str:
    ensure_partitions()
    return f"inbox-{uuid.uuid4()}"


@pytest.fixture
def inbox(topic: str) -> Iterator[Inbox]:
    with closing(Witness(url_of_connection(), topic=topic)) as witness:
        found = Inbox(witness)
        found.create_topic(topic)
        append_now(topic, RECORDS)
        yield found


def test_partitions_offsets_and_records_are_those_of_the_log(inbox: Inbox, topic: str) -> None:
    log = PostgresLog()
    keys = [(topic, number) for number in range(PARTITIONS)]
    assert inbox.partitions([topic, "unknown"]) == log.partitions([topic, "unknown"])
    assert inbox.beginning_offsets(keys) == log.beginning_offsets(keys)
    assert inbox.end_offsets(keys) == log.end_offsets(keys)
    assert sum(inbox.end_offsets(keys).values()) == len(RECORDS)
    for key, end in inbox.end_offsets(keys).items():
        found = inbox.read(*key, 0, end, max_bytes=MANY_BYTES)
        assert found == log.read(*key, 0, end, max_bytes=MANY_BYTES)
        assert inbox.read(*key, 1, end - 1, max_bytes=MANY_BYTES).records == found.records[1:-1]


def test_what_lies_outside_the_log_cannot_be_read(inbox: Inbox, topic: str) -> None:
    with pytest.raises(OffsetOutOfRange):
        inbox.read(topic, 0, 10_000, 10_001, max_bytes=MANY_BYTES)
    with pytest.raises(OffsetOutOfRange):
        inbox.read("unknown", 0, 0, 1, max_bytes=MANY_BYTES)


def test_a_hole_is_noticed(inbox: Inbox, topic: str) -> None:
    end = inbox.end_offsets([(topic, 0)])[topic, 0]
    assert end >= 3
    with connection.cursor() as sql:
        sql.execute(
            "DELETE FROM inbox WHERE log_offset = 1 AND inbox_partition_id = "
            "(SELECT id FROM ingestion_inboxpartition WHERE topic = %s AND partition = 0)",
            [topic],
        )
    with pytest.raises(AssertionError, match="hole"):
        inbox.read(topic, 0, 0, end, max_bytes=MANY_BYTES)
