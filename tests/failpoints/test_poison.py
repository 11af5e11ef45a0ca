"""A record that kills its worker, end to end: found by bisection, set aside unread and alone, the rest as if it were a reject."""

from __future__ import annotations

import hashlib
import json
import signal
from base64 import b64encode
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from ingestion.log.base import NewRecord
from ingestion.log.postgres import append_now
from ingestion.models import DeadLetter, HaltReason, InboxPartition
from ingestion.reject import SetAsideReason
from tests.failpoints.bench import Bench, Topics
from tests.failpoints.conftest import undisturbed
from tests.failpoints.picture import check_settled, picture
from tests.failpoints.poison import MARKER
from tests.failpoints.processes import Processes
from tests.failpoints.records import LOG, event

MAX_DEATHS = 18
LETTERS = "ingestion_deadletter"
# Of an outbox entry: whether it is suppressed as a repeat depends on how the log was cut.
CERTAIN = slice(9)


def poison(inbox: InboxPartition, offsets: Collection[int], *, action: str = "SIGKILL") -> None:
    """Have the records at these offsets kill whoever scrubs them."""
    _replace(inbox, offsets, "headers", json.dumps([[MARKER, b64encode(action.encode()).decode()]]))


def spoil(inbox: InboxPartition, offsets: Collection[int]) -> None:
    """Have the records at these offsets be such that a rule refuses them."""
    _replace(inbox, offsets, "value", b"{not json either")


def _replace(inbox: InboxPartition, offsets: Collection[int], column: str, value: str | bytes) -> None:
    with connection.cursor() as sql:
        sql.execute(
            f"UPDATE inbox SET {column} = %s WHERE inbox_partition_id = %s AND log_offset = ANY(%s)",
            [value, inbox.pk, list(offsets)],
        )


def survive(bench: Bench, *, neighbour: Bench | None = None, **request: Any) -> list[int]:
    """Start worker after worker until the log is ingested or the partition halts; return what they died of.

    After each death the partition of `neighbour` gets a record.
    """
    deaths: list[int] = []
    while "died" in (answer := bench.drain(bench.worker(poisoned=True, **request))):
        deaths.append(answer["died"])
        assert len(deaths) <= 3 * MAX_DEATHS
        if neighbour is not None:
            append_now(neighbour.inbox.topic, [NewRecord(None, event(1_000 + len(deaths)))])
    return deaths


def verdicts(cursor_id: int, offsets: Collection[int]) -> dict[str, Any]:
    """Return the picture without what says how the records at `offsets` became dead letters."""
    found = picture(cursor_id)
    letters = [row for row in found[LETTERS] if row[0] not in offsets]
    assert len(letters) == len(found[LETTERS]) - len(offsets)
    return {**found, LETTERS: letters, "outbox": [row[CERTAIN] for row in found["outbox"]]}


def refused(processes: Processes, topics: Topics, offsets: Collection[int], directory: Path) -> dict[str, Any]:
    """Return the verdicts of the same log with these records refused instead."""
    inbox = topics.new()
    spoil(inbox, offsets)
    return verdicts(undisturbed(processes, inbox, directory), offsets)


@pytest.mark.parametrize("action", ["SIGSEGV", "SIGXCPU"])
def test_a_record_that_kills_is_set_aside_alone_and_unread(
    bench: Bench, processes: Processes, topics: Topics, tmp_path: Path, action: str
) -> None:
    offset = 250
    poison(bench.inbox, [offset], action=action)
    deaths = survive(bench)
    assert set(deaths) == {signal.Signals[action]}
    assert len(deaths) <= MAX_DEATHS
    letter = DeadLetter.objects.get(cursor=bench.cursor, log_offset=offset)
    assert letter.reason == SetAsideReason.KILLED_WORKER
    assert letter.size_bytes == len(LOG[offset])
    assert bytes(letter.sha256) == hashlib.sha256(LOG[offset]).digest()
    assert (letter.payload, letter.field, letter.records) == ("", "$", 1)
    assert "question" not in letter.message
    check_settled(bench.cursor.pk)
    found = verdicts(bench.cursor.pk, [offset])
    assert found == refused(processes, topics, [offset], tmp_path)


@pytest.mark.parametrize("offsets", [[301, 303], [599]], ids=str)
def test_the_neighbours_of_records_that_kill_are_stored(
    bench: Bench, processes: Processes, topics: Topics, tmp_path: Path, offsets: list[int]
) -> None:
    poison(bench.inbox, offsets)
    assert len(survive(bench)) <= MAX_DEATHS * len(offsets)
    check_settled(bench.cursor.pk)
    found = verdicts(bench.cursor.pk, offsets)
    assert found == refused(processes, topics, offsets, tmp_path)


def test_a_record_that_kills_at_the_start_of_its_range_is_set_aside_once_another_partition_moves(
    bench: Bench, processes: Processes, topics: Topics, tmp_path: Path
) -> None:
    """Nothing of its own range can prove that it is not the build."""
    offsets = [399, 400]
    poison(bench.inbox, offsets)
    neighbour = Bench(processes, topics.new(), tmp_path, queue=bench.queue)
    assert len(survive(bench, neighbour=neighbour)) <= MAX_DEATHS * len(offsets)
    neighbour.close()
    check_settled(bench.cursor.pk)
    found = verdicts(bench.cursor.pk, offsets)
    assert found == refused(processes, topics, offsets, tmp_path)


def test_a_build_that_has_ingested_nothing_besides_halts_with_the_record_still_in_the_log(bench: Bench) -> None:
    poison(bench.inbox, [0])
    assert len(survive(bench)) <= MAX_DEATHS
    assert bench.cursor.halted_because == HaltReason.POISONED_BUILD
    assert bench.batches() == []
    assert not DeadLetter.objects.filter(cursor=bench.cursor).exists()


@pytest.mark.slow
def test_a_record_that_burns_cpu_inside_c_is_set_aside(
    transactional_db: None, processes: Processes, tmp_path: Path
) -> None:
    one = Topics(LOG[:1])
    bench = Bench(processes, one.new(), tmp_path)
    neighbour = Bench(processes, one.new(), tmp_path, queue=bench.queue)
    poison(bench.inbox, [0], action="burn")
    assert survive(bench, neighbour=neighbour, cpu_seconds=1) == [signal.SIGXCPU] * 3
    for found in (bench, neighbour):
        found.close()
    letter = DeadLetter.objects.get(cursor=bench.cursor)
    assert (letter.log_offset, letter.reason) == (0, SetAsideReason.KILLED_WORKER)
    check_settled(bench.cursor.pk)
