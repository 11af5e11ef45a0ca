"""Bridges in a consumer group: members come, go and hang, and no partition waits for it."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from kafka import KafkaAdminClient

from ingestion.bridge import ORPHAN_SECONDS
from ingestion.membership import (
    LOST_JOIN_POLLS,
    LOST_JOIN_SECONDS,
    SEAT_SECONDS,
    KafkaMembership,
    Key,
    Seat,
)
from tests.services import KafkaBroker

PARTITIONS = 4
STEP_SECONDS = 0.05


@dataclass
class Group:
    """A topic and the members that share it."""

    kafka: KafkaBroker
    topic: str
    name: str = field(default_factory=lambda: str(uuid.uuid4()))
    members: list[KafkaMembership] = field(default_factory=list)

    def new_member(self, *, max_poll_interval_seconds: float = 30) -> KafkaMembership:
        member = KafkaMembership(
            self.kafka.brokers.split(","),
            group=self.name,
            security={},
            timeout_seconds=10,
            max_poll_interval_seconds=max_poll_interval_seconds,
        )
        self.members.append(member)
        return member

    def run(self, seconds: float, *members: KafkaMembership) -> None:
        """Let the members come round in turn, as their bridges' steps do."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for member in members:
                member.join([self.topic])
                member.wait(STEP_SECONDS, ends={}, idle=False)

    def until_shared(self, *members: KafkaMembership, count: int = PARTITIONS, seconds: float = 60) -> float:
        """Let the members come round until each partition has one owner; return how long it took."""
        begun = time.monotonic()
        while not is_shared(members, count):
            assert time.monotonic() - begun < seconds, [member.owned() for member in members]
            self.run(0.2, *members)
        return time.monotonic() - begun

    def close(self) -> None:
        for member in self.members:
            member.leave()


def is_shared(members: Sequence[KafkaMembership], count: int) -> bool:
    """Tell whether each of `count` partitions has one owner."""
    owned = [member.owned() for member in members]
    keys = [key for found in owned if found is not None for key in found]
    return None not in owned and len(keys) == len(set(keys)) == count


@pytest.fixture
def group(kafka: KafkaBroker) -> Iterator[Group]:
    found = Group(kafka, kafka.new_topic(partitions=PARTITIONS))
    yield found
    found.close()


def waiting(*, answered: bool, polls: int, seconds: float) -> bool:
    """Tell whether a seat is lost that was stable in generation 3, and has waited for the next one since."""
    seat = Seat(0.0).after_poll(3, is_stable=True, now=100.0)
    for number in range(polls):
        now = 100.0 + seconds * number / max(polls - 1, 1)
        seat = seat.after_poll(4 if answered else 3, is_stable=False, now=now)
    return seat.is_lost(100.0 + seconds)


def test_a_seat_is_lost_when_its_join_takes_too_long() -> None:
    assert not waiting(answered=False, polls=1_000, seconds=SEAT_SECONDS)
    assert waiting(answered=False, polls=1, seconds=SEAT_SECONDS + 0.1)


def test_a_seat_is_lost_when_an_answered_join_leads_nowhere_for_a_while_and_many_polls() -> None:
    polls, seconds = LOST_JOIN_POLLS + 1, LOST_JOIN_SECONDS + 0.1
    assert waiting(answered=True, polls=polls, seconds=seconds)
    assert not waiting(answered=True, polls=polls - 1, seconds=seconds)
    assert not waiting(answered=True, polls=polls, seconds=LOST_JOIN_SECONDS)


def test_a_join_begins_anew_after_a_seat_and_with_its_answer() -> None:
    joining = Seat(0.0).after_poll(3, is_stable=False, now=5.0)
    assert joining == Seat(5.0, is_answered=True, polls=1)
    seated = joining.after_poll(3, is_stable=True, now=6.0)
    assert seated == Seat(6.0, generation=3)
    again = seated.after_poll(3, is_stable=False, now=7.0)
    assert again == Seat(6.0, generation=3, polls=1)
    assert again.after_poll(4, is_stable=False, now=8.0) == Seat(8.0, generation=3, is_answered=True, polls=1)


def test_two_members_share_the_partitions(group: Group) -> None:
    first, second = group.new_member(), group.new_member()
    group.until_shared(first, second)
    assert {len(first.owned() or ()), len(second.owned() or ())} == {PARTITIONS // 2}


def test_a_member_that_leaves_hands_over_at_once(group: Group) -> None:
    first, second = group.new_member(), group.new_member()
    group.until_shared(first, second)
    begun = time.monotonic()
    second.leave()
    assert time.monotonic() - begun < 3
    assert second.owned() is None
    assert group.until_shared(first, seconds=15) < 15


def test_new_partitions_are_shared_out_although_the_join_outlasts_many_polls(group: Group) -> None:
    first, second = group.new_member(), group.new_member()
    group.until_shared(first, second)
    admin = KafkaAdminClient(bootstrap_servers=group.kafka.brokers)
    admin.create_partitions({group.topic: 2 * PARTITIONS})
    admin.close()
    seconds = group.until_shared(first, second, count=2 * PARTITIONS, seconds=60)
    print(f"shared out after {seconds:.1f} s")


def test_a_member_without_a_seat_serves_everything(group: Group) -> None:
    member = group.new_member()
    assert member.owned() is None
    member.wait(0.01, ends={}, idle=True)


def test_a_broker_that_is_not_there_is_no_error() -> None:
    member = KafkaMembership(["127.0.0.1:1"], group="g", security={}, timeout_seconds=1)
    member.join(["topic"])
    member.wait(0.01, ends={}, idle=True)
    member.report({("topic", 0): 1})
    assert member.owned() is None
    member.leave()


# --- slow ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_member_slower_than_the_poll_interval_loses_its_partitions_and_comes_back(group: Group) -> None:
    slow, quick = group.new_member(max_poll_interval_seconds=6), group.new_member(max_poll_interval_seconds=6)
    group.until_shared(slow, quick)
    # The slow one does not come round, while its heartbeats go on.
    taken_over = group.until_shared(quick, seconds=40)
    print(f"taken over after {taken_over:.1f} s")
    assert taken_over < 20
    group.until_shared(slow, quick)


@dataclass
class Standstill:
    """For how long a partition had nobody that would serve it, at most."""

    present: list[KafkaMembership]
    keys: list[Key]
    longest_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._since: dict[Key, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Standstill:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            owned = [member.owned() for member in list(self.present)]
            for key in self.keys:
                if any(found is None or key in found for found in owned):
                    self._since.pop(key, None)
                else:
                    since = self._since.setdefault(key, time.monotonic())
                    self.longest_seconds = max(self.longest_seconds, time.monotonic() - since)


@pytest.mark.slow
def test_members_that_join_and_leave_ten_times_stop_no_partition_for_longer_than_an_orphan_waits(group: Group) -> None:
    stays, comes = group.new_member(), group.new_member()
    group.until_shared(stays, comes)
    with Standstill([stays, comes], [(group.topic, number) for number in range(PARTITIONS)]) as standstill:
        for _ in range(10):
            standstill.present.remove(comes)
            comes.leave()
            group.run(1.5, stays)
            standstill.present.append(comes)
            group.run(1.5, stays, comes)
    group.until_shared(stays, comes)
    print(f"longest standstill {standstill.longest_seconds:.2f} s")
    # After this long every bridge serves the partition, whoever owns it.
    assert standstill.longest_seconds < ORPHAN_SECONDS + 2
