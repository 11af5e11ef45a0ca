"""Who reads which partition: a Kafka consumer group among the bridges, advice only.

It spreads the work, lets lag tools see a committed offset, and wakes an idle bridge when a record arrives. The
compare-and-set on the cursor decides; two members may believe for seconds that they own the same partition.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.base import DEFAULT_GENERATION_ID, MemberState
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from ingestion.failpoint import failpoint
from ingestion.log.kafka_client import client_options, close_quietly, make_client

logger = structlog.get_logger(__name__)

COMMIT_SECONDS = 5.0
# A bridge that does not come round for so long gives its partitions up. It is also how long a rebalance waits for one,
# and, with 5 s on top, how long kafka-python waits for the answer to a join over a connection that may be half-open.
MAX_POLL_INTERVAL_SECONDS = 30.0
# A join that takes longer is begun anew; one whose result was lost, sooner.
SEAT_SECONDS = 10.0
LOST_JOIN_SECONDS = 1.0
LOST_JOIN_POLLS = 10
# Closing waits for nothing that matters: siblings notice a member that is gone after its session.
LEAVE_SECONDS = 2.0
# Who joins or leaves moves few partitions, and the others stay where they are.
ASSIGNORS = (CooperativeStickyAssignor,)
Key = tuple[str, int]


class Membership(Protocol):
    """The bridge's seat among its siblings. Every call is bounded in time and never raises for a lost broker."""

    def join(self, topics: Collection[str]) -> None:
        """Take part for these topics; called whenever their set may have changed."""

    def owned(self) -> set[Key] | None:
        """Return the partitions this member should serve; None means all, because nobody shares them out."""

    def wait(self, seconds: float, *, ends: Mapping[Key, int], idle: bool) -> None:
        """Sleep, less long if idle and a record arrives beyond `ends`."""

    def report(self, offsets: Mapping[Key, int]) -> None:
        """Tell lag tools how far the cursors are."""

    def leave(self) -> None: ...


class Alone:
    """No group: for the PostgreSQL log, whose one table every bridge can serve."""

    def join(self, topics: Collection[str]) -> None:
        pass

    def owned(self) -> set[Key] | None:
        return None

    def wait(self, seconds: float, *, ends: Mapping[Key, int], idle: bool) -> None:
        time.sleep(min(seconds, 0.04))

    def report(self, offsets: Mapping[Key, int]) -> None:
        pass

    def leave(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Seat:
    """The last generation in which a member had its seat, and its waiting for the next one, in monotonic seconds.

    `is_answered` says that the coordinator has answered the join: `since` and `polls` count from then on.
    """

    since: float
    generation: int = DEFAULT_GENERATION_ID
    is_answered: bool = False
    polls: int = 0

    def after_poll(self, generation: int, *, is_stable: bool, now: float) -> Seat:
        """Return the seat as a poll has left it, in this generation of the group."""
        if is_stable:
            return Seat(now, generation)
        is_answered = generation not in {self.generation, DEFAULT_GENERATION_ID}
        if is_answered != self.is_answered:
            return Seat(now, self.generation, is_answered, polls=1)
        return replace(self, polls=self.polls + 1)

    def is_lost(self, now: float) -> bool:
        """Tell whether the join takes too long, or its result must have been lost."""
        waited = now - self.since
        is_dropped = self.is_answered and self.polls > LOST_JOIN_POLLS and waited > LOST_JOIN_SECONDS
        return is_dropped or waited > SEAT_SECONDS


class KafkaMembership:
    """A group consumer that fetches only to notice that something arrived."""

    def __init__(
        self,
        brokers: Sequence[str],
        *,
        group: str,
        security: Mapping[str, Any],
        timeout_seconds: float,
        max_poll_interval_seconds: float = MAX_POLL_INTERVAL_SECONDS,
    ) -> None:
        self._options: dict[str, Any] = {
            **client_options(brokers, security=security, request_timeout_seconds=timeout_seconds),
            "client_id": "sentinel-bridge",
            "group_id": group,
            "enable_auto_commit": False,
            "auto_offset_reset": "latest",
            "isolation_level": "read_committed",
            "partition_assignment_strategy": ASSIGNORS,
            "session_timeout_ms": 6_000,
            "heartbeat_interval_ms": 1_000,
            "max_poll_interval_ms": int(max_poll_interval_seconds * 1000),
            "fetch_max_wait_ms": 500,
            "max_partition_fetch_bytes": 1,
            "max_poll_records": 1,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }
        self._consumer: Any = None
        self._topics: frozenset[str] = frozenset()
        self._sought: dict[TopicPartition, int] = {}
        self._reported_at = 0.0
        self._seat = Seat(time.monotonic())

    def join(self, topics: Collection[str]) -> None:
        wanted = frozenset(topics)
        if not wanted or (wanted == self._topics and self._consumer is not None):
            return
        # Other topics need a new seat: a leader that joins again because its own topics changed may never be seated.
        self.leave()
        try:
            self._consumer = make_client(KafkaConsumer, **self._options)
            self._seat = Seat(time.monotonic())
            self._consumer.subscribe(sorted(wanted))
            # What it learned of its topics only while it joins would make it join again.
            self._consumer.topics()
            self._topics = wanted
        except KafkaError as error:
            logger.warning("bridge.group_unavailable", error=type(error).__name__)

    def owned(self) -> set[Key] | None:
        if self._consumer is None:
            return None
        assigned = {(item.topic, item.partition) for item in self._consumer.assignment()}
        # While the group rebalances nobody owns anything; partitions must not stand still meanwhile.
        return assigned or None

    def wait(self, seconds: float, *, ends: Mapping[Key, int], idle: bool) -> None:
        if self._consumer is None:
            time.sleep(min(seconds, 0.04))
            return
        started = time.monotonic()
        try:
            self._watch(ends if idle else {})
            for item in self._consumer.poll(timeout_ms=int(seconds * 1000), max_records=1):
                self._sought.pop(item, None)
            self._check_seat()
        except KafkaError as error:
            logger.warning("bridge.group_poll_failed", error=type(error).__name__)
            time.sleep(max(0.0, min(seconds, 0.5) - (time.monotonic() - started)))

    def _check_seat(self) -> None:
        """Leave when a join takes too long; the next `join` takes a new seat.

        kafka-python 3.0.12 drops the result of a join that outlasts a poll when the leader joined because its topics had
        changed: it stays between two generations for ever, and every poll of it burns CPU.
        """
        now = time.monotonic()
        group = self._consumer.group_metadata()
        seat = self._seat.after_poll(group.generation_id, is_stable=group.state is MemberState.STABLE, now=now)
        self._seat = seat
        if seat.is_lost(now):
            logger.info("bridge.group_left", seconds=round(now - seat.since), join_answered=seat.is_answered)
            self.leave()

    def _watch(self, ends: Mapping[Key, int]) -> None:
        """Fetch from the known ends of the partitions in `ends`, from no other; after a rejoin pauses are gone."""
        assigned = self._consumer.assignment()
        watched = {item for item in assigned if (item.topic, item.partition) in ends}
        paused = self._consumer.paused()
        if assigned - watched - paused:
            self._consumer.pause(*(assigned - watched - paused))
        for item in watched:
            end = ends[(item.topic, item.partition)]
            # Always from what the bridge has just seen: a record that came since is then already waiting.
            if item in paused or self._sought.get(item) != end:
                failpoint("before_seek")
                self._consumer.seek(item, end)
                self._sought[item] = end
        if watched & paused:
            self._consumer.resume(*(watched & paused))

    def report(self, offsets: Mapping[Key, int]) -> None:
        now = time.monotonic()
        if self._consumer is None or now - self._reported_at < COMMIT_SECONDS:
            return
        self._reported_at = now
        assigned = self._consumer.assignment()
        commits = {
            TopicPartition(*key): OffsetAndMetadata(offset, "", -1)
            for key, offset in offsets.items()
            if TopicPartition(*key) in assigned
        }
        if commits:
            try:
                self._consumer.commit_async(commits)
            except KafkaError as error:
                logger.info("bridge.group_commit_failed", error=type(error).__name__)

    def leave(self) -> None:
        if self._consumer is not None:
            close_quietly(self._consumer, autocommit=False, timeout_ms=int(LEAVE_SECONDS * 1000))
        self._consumer = None
        self._sought.clear()
