"""The reader of ends: whom it asks, and whom it does not let hold up the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from ingestion.ends import SILENT_TOPIC_SECONDS, STALE_SECONDS, EndReader
from ingestion.log.base import LogUnavailable
from ingestion.log.postgres import PostgresLog

Key = tuple[str, int]
A, B = ("a", 0), ("b", 0)


class AskedLog(PostgresLog):
    """Notes what it is asked for; `silent` topics do not answer, and fail whatever is asked with them."""

    def __init__(self, ends: Mapping[Key, int]) -> None:
        self.known = dict(ends)
        self.silent: set[str] = set()
        self.asked: list[set[Key]] = []

    def end_offsets(self, partitions: Collection[Key]) -> Mapping[Key, int]:
        self.asked.append(set(partitions))
        if self.silent & {topic for topic, _ in partitions}:
            raise LogUnavailable("no answer")
        return {key: self.known[key] for key in partitions if key in self.known}


class Bench:
    def __init__(self) -> None:
        self.log = AskedLog({A: 10, B: 20})
        self.now = 0.0
        self.reader = EndReader(self.log, clock=lambda: self.now)

    def ends(self, *at_work: Key) -> Mapping[Key, int]:
        self.log.asked.clear()
        return self.reader.ends([A, B], at_work=at_work).known


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    assert bench.ends() == {A: 10, B: 20}
    bench.now += STALE_SECONDS / 2
    return bench


def test_a_partition_that_waits_for_records_is_asked_every_time(bench: Bench) -> None:
    bench.log.known[A] = 11
    assert bench.ends(B) == {A: 11, B: 20}
    assert bench.log.asked == [{A}]


def test_where_all_are_at_work_nobody_is_asked_for_a_second(bench: Bench) -> None:
    bench.log.known = {A: 12, B: 22}
    assert bench.ends(A, B) == {A: 10, B: 20}
    assert bench.log.asked == []
    bench.now += STALE_SECONDS / 2
    assert bench.ends(A, B) == {A: 12, B: 22}


def test_only_what_was_asked_for_just_now_counts_as_seen(bench: Bench) -> None:
    assert bench.reader.ends([A, B], at_work=[B]).seen == {A: 10}


def test_the_old_end_of_a_partition_at_work_without_a_leader_is_not_seen(bench: Bench) -> None:
    del bench.log.known[B]
    bench.now += STALE_SECONDS
    found = bench.reader.ends([A, B], at_work=[B])
    assert found.known == {A: 10, B: 20}
    assert found.seen == {A: 10}


def test_a_partition_that_is_no_longer_asked_for_is_forgotten(bench: Bench) -> None:
    assert bench.reader.ends([A], at_work=[A]).known == {A: 10}


def test_a_partition_without_a_leader_is_left_out(bench: Bench) -> None:
    del bench.log.known[A]
    assert bench.ends() == {B: 20}


def test_a_silent_topic_does_not_hold_up_the_others_and_is_asked_again_later(bench: Bench) -> None:
    bench.log.silent = {"a"}
    assert bench.ends() == {B: 20}
    assert bench.ends() == {B: 20}
    assert bench.log.asked == [{B}]
    bench.log.silent = set()
    bench.now += SILENT_TOPIC_SECONDS
    assert bench.ends() == {A: 10, B: 20}


def test_a_silent_topic_does_not_hold_up_those_at_work(bench: Bench) -> None:
    bench.log.silent = {"a"}
    assert bench.ends(B) == {B: 20}
    assert bench.ends(B) == {B: 20}
    assert bench.log.asked == []


def test_two_silent_topics_hold_up_the_others_once(bench: Bench) -> None:
    bench.log.known["c", 0] = 30
    bench.log.silent = {"a", "b"}
    with pytest.raises(LogUnavailable):
        bench.reader.ends([A, B, ("c", 0)])
    assert bench.reader.ends([A, B, ("c", 0)]).known == {("c", 0): 30}


def test_where_no_topic_answers_it_is_the_log_that_is_away(bench: Bench) -> None:
    bench.log.silent = {"a", "b"}
    with pytest.raises(LogUnavailable):
        bench.ends(B)
    bench.log.silent = set()
    assert bench.ends() == {A: 10, B: 20}
