"""The account of a load over HTTP is compared with the log, event by event."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pytest

from ingestion.log.base import Chunk, PartitionId, Record
from tests.faults.http_load import HttpLoad
from tests.faults.reference import Reference
from tests.faults.setting import Setting

TOPIC = "t"


class ListLog:
    """A log of one partition that holds events with these ids."""

    def __init__(self, ids: Sequence[str]) -> None:
        values = [b'{"event_id":"%s"}' % event_id.encode() for event_id in ids]
        self._records = [Record(offset, 0, None, value, []) for offset, value in enumerate(values)]

    def partitions(self, topics: Collection[str]) -> Sequence[PartitionId]:
        return [PartitionId("c", "i", topic, 0) for topic in topics]

    def beginning_offsets(self, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return dict.fromkeys(partitions, 0)

    def end_offsets(self, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return dict.fromkeys(partitions, len(self._records))

    def written_offsets(self, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return self.end_offsets(partitions)

    def read(self, topic: str, partition: int, start: int, end: int, *, max_bytes: int) -> Chunk:
        return Chunk(self._records[start:end], end, len(self._records))

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("held", "answered", "unanswered", "wrong"),
    [
        ("ab", "ab", "", 0),
        ("aab", "aab", "", 0),
        ("ab", "a", "bc", 0),
        ("a", "ab", "", 1),
        ("a", "ab", "b", 1),
        ("aab", "ab", "", 1),
        ("abb", "a", "b", 1),
        ("abc", "ab", "", 1),
    ],
    ids=[
        "all is there", "sent twice and there twice", "some unanswered ones are there", "lost", "lost the second time",
        "doubled", "an unanswered one is doubled", "never sent",
    ],
)  # fmt: skip
def test_the_log_must_hold_what_was_answered_and_may_hold_once_what_was_not(
    held: str, answered: str, unanswered: str, wrong: int
) -> None:
    log = ListLog(held)
    load = HttpLoad(urls=[], token="", log=log, topic=TOPIC, partitions=1, seed=1)
    load.answered.update(answered)
    load.unanswered.update(unanswered)
    reference = Reference(log, Setting(project_id=1, retention_days=30, days=frozenset()), TOPIC)
    assert len(load.disagreements(reference)) == wrong


def test_unanswered_events_that_are_in_the_log_after_all_are_counted() -> None:
    log = ListLog("abbc")
    load = HttpLoad(urls=[], token="", log=log, topic=TOPIC, partitions=1, seed=1)
    load.answered.update("ab")
    load.unanswered.update("bcde")
    reference = Reference(log, Setting(project_id=1, retention_days=30, days=frozenset()), TOPIC)
    assert load.disagreements(reference) == []
    assert load.unanswered_in_log == 2
