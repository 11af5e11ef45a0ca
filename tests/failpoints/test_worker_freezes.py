"""A worker stands still for too long, others go on without it, and then it wakes up: its commit is refused.

Inside the transaction PostgreSQL ends its session (`idle_in_transaction_session_timeout`), outside the bridge does, once
the lock is held for longer than the hard time limit. All cases wait for real time, so they wait together.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from typing import Any

import pytest

from ingestion.cursor import Dispatch
from ingestion.cursor_lock import held_locks
from ingestion.failpoint import WORKER_POINTS
from ingestion.gaps import record_gap
from ingestion.models import GapReason
from sentinel.child import wait_until
from tests.failpoints.bench import Bench, Topics
from tests.failpoints.channel import Message
from tests.failpoints.picture import cache_entry, cached_state, check_settled, picture
from tests.failpoints.processes import Processes, WorkerProcess
from tests.failpoints.roles import new_bridge

IDLE_LIMIT = "-c idle_in_transaction_session_timeout=500"
HARD_LIMIT_SECONDS = 5.0
RECOVERY_SECONDS = 40.0


def points(first: str, last: str) -> tuple[str, ...]:
    return WORKER_POINTS[WORKER_POINTS.index(first) : WORKER_POINTS.index(last) + 1]


INSIDE = points("after_lock_position", "before_commit")
OUTSIDE = points("after_start", "before_transaction")
POINTS = [*OUTSIDE, *INSIDE]
# What a worker says that wakes up when all is done, where it stood still without an open attempt.
LATE_ANSWERS: dict[str, Message] = {
    "before_lock": {"outcome": "stale"},
    "after_lock": {"raised": "OperationalError"},  # its session was ended
    **{point: {"outcome": "committed"} for point in points("after_commit", "after_send")},
}
HOLDING = ("after_lock", *points("after_commit", "before_unlock"))


@dataclass
class Zombie:
    """A worker that stood still in its second range, and what was there before and after it woke up."""

    bench: Bench
    worker: WorkerProcess
    kept_its_lock: bool = False
    before: tuple[Any, ...] = ()
    answer: Message = field(default_factory=dict)

    @property
    def cursor_id(self) -> int:
        return self.bench.cursor.pk

    def look(self) -> tuple[Any, ...]:
        return picture(self.cursor_id), cache_entry(self.cursor_id), self.bench.batches(), self.bench.cursor.attempt


@pytest.fixture(scope="module")
def zombies(
    processes: Processes, topics: Topics, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Zombie]]:
    """Freeze a worker at each point, let another one finish its partition, and wake them all up."""
    queue: deque[Dispatch] = deque()
    benches = {
        point: Bench(processes, topics.new(), tmp_path_factory.mktemp("frozen"), queue=queue) for point in POINTS
    }
    bridge = new_bridge(queue.append, hard_limit_seconds=HARD_LIMIT_SECONDS)
    bridge.step()
    first = {task.cursor_id: task for task in queue}
    queue.clear()
    found = {point: stand_still(bench, point, first[bench.cursor.pk]) for point, bench in benches.items()}
    note_locks(found)
    helper, deadline = next(iter(benches.values())).worker(), time.monotonic() + RECOVERY_SECONDS
    while queue or not all(bench.has_reached() for bench in benches.values()):
        assert time.monotonic() < deadline, [vars(bench.cursor) for bench in benches.values()]
        bridge.step()
        while queue:
            assert "outcome" in helper.ingest(queue.popleft())
    for zombie in found.values():
        wake_up(zombie)
    yield found
    for bench in benches.values():
        bench.close()


def stand_still(bench: Bench, point: str, task: Dispatch) -> Zombie:
    """Have a worker ingest the first range, and stop in the second."""
    worker = bench.worker(f"{point}=freeze:nth=2", session=IDLE_LIMIT)
    assert worker.ingest(task) == {"outcome": "committed"}
    following = bench.queue.popleft()
    assert set(worker.ingest(following)) == {"stopped"}
    return Zombie(bench, worker)


def note_locks(zombies: dict[str, Zombie]) -> None:
    """Remember who kept its lock once PostgreSQL has ended the sessions that idle in a transaction."""
    inside = {zombies[point].cursor_id for point in INSIDE}
    assert wait_until(lambda: not inside & set(held_locks()), timeout_seconds=HARD_LIMIT_SECONDS)
    held = held_locks()
    for zombie in zombies.values():
        zombie.kept_its_lock = zombie.cursor_id in held


def wake_up(zombie: Zombie) -> None:
    zombie.before = zombie.look()
    zombie.worker.thaw()
    zombie.answer = zombie.worker.answer("outcome", "raised")


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_that_wakes_up_late_commits_nothing_and_publishes_nothing(
    zombies: dict[str, Zombie], reference: dict[str, Any], point: str
) -> None:
    zombie = zombies[point]
    assert zombie.answer == {"outcome": "database"}
    assert zombie.look() == zombie.before
    assert zombie.before[0] == reference
    check_settled(zombie.cursor_id)


@pytest.mark.parametrize("point", OUTSIDE)
def test_a_worker_that_is_slow_outside_the_transaction_keeps_its_lock_until_the_hard_limit(
    zombies: dict[str, Zombie], point: str
) -> None:
    assert zombies[point].kept_its_lock


def test_a_worker_that_sleeps_beyond_the_hard_limit_commits_nothing(bench: Bench, reference: dict[str, Any]) -> None:
    bridge = new_bridge(bench.queue.append, hard_limit_seconds=1.5)
    bridge.step()
    sleeper = bench.worker("after_scrub=sleep(6)")
    sleeper.ask(task=astuple(bench.queue.popleft()))
    assert wait_until(lambda: "after_scrub" in bench.hits(), timeout_seconds=10)
    helper = bench.worker()
    while not bench.has_reached():
        bridge.step()
        while bench.queue:
            assert "outcome" in helper.ingest(bench.queue.popleft())
    assert sleeper.answer("outcome", "raised") == {"outcome": "database"}
    check_settled(bench.cursor.pk)
    assert picture(bench.cursor.pk) == reference


@pytest.mark.parametrize("point", LATE_ANSWERS)
def test_a_worker_that_stands_still_before_its_attempt_or_after_it_holds_nobody_up(
    bench: Bench, reference: dict[str, Any], point: str
) -> None:
    """Its session is neither in a transaction nor that of the current attempt, yet it may hold the lock."""
    bridge = new_bridge(bench.queue.append, hard_limit_seconds=0.5)
    bridge.step()
    zombie = bench.worker(f"{point}=freeze")
    assert set(zombie.ingest(bench.queue.popleft())) == {"stopped"}
    assert (bench.cursor.pk in held_locks()) == (point in HOLDING)
    helper, deadline = bench.worker(), time.monotonic() + 10
    while not bench.has_reached():
        assert time.monotonic() < deadline, vars(bench.cursor)
        bench.age()
        bridge.step()
        while bench.queue:
            helper.ingest(bench.queue.popleft())
    check_settled(bench.cursor.pk)
    zombie.thaw()
    assert zombie.answer("outcome", "raised") == LATE_ANSWERS[point]
    # What it hands over only now has long been ingested.
    assert len(bench.queue) == (point in points("after_commit", "before_send"))
    assert [helper.ingest(task) for task in bench.queue] == [{"outcome": "stale"}] * len(bench.queue)
    assert picture(bench.cursor.pk) == reference
    # What it publishes only now bears the stamp of its own batch: nobody takes it for the last one's.
    assert (cached_state(bench.cursor.pk) is None) == (point in points("after_commit", "before_redis"))
    assert bench.cursor.pk not in held_locks()


def test_a_range_whose_cursor_was_moved_while_it_was_prepared_is_stale(bench: Bench) -> None:
    new_bridge(bench.queue.append).step()
    worker = bench.worker("before_transaction=freeze")
    assert set(worker.ingest(bench.queue.popleft())) == {"stopped"}
    assert record_gap(bench.cursor, until=150, reason=GapReason.RETENTION)
    worker.thaw()
    assert worker.answer("outcome", "raised") == {"outcome": "stale"}
    assert (bench.batches(), bench.gaps(), bench.cursor.next_offset) == ([], [(0, 150)], 150)
    assert picture(bench.cursor.pk)["events"] == []
    bench.drain(bench.worker())
    check_settled(bench.cursor.pk)
