"""A real worker whose processes die in the middle of a range: its parent says how, and carries on."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from ingestion.failpoint import DIRECTORY_VARIABLE
from ingestion.failpoint import VARIABLE as FAILPOINTS
from ingestion.suspicion import TIMED_OUT
from sentinel.child import wait_until
from tests.sentinel.pipeline.conftest import Partition, event, partition
from tests.sentinel.running_worker import RunningWorker, dispatch_all, running_worker

__all__ = ["partition"]  # the fixture

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("redis_server")]

# The bridge waits two seconds for a report. The aim is 0.3; the figure is printed (`pytest -rP`).
REPORT_BOUND_SECONDS = 1.0
FREEZE = {FAILPOINTS: "after_read=freeze"}
# Usually half a second; what Celery calls a lost worker holds its place for ten.
NEXT_BOUND_SECONDS = 5.0
KILLS = 12
HARD_LIMIT_SECONDS = 5


def frozen_in_a_range(worker: RunningWorker, partition: Partition) -> psutil.Process:
    """Let a process start on a range and return it where it stands still."""
    partition.append(event(partition.end))
    dispatch_all(partition)
    child = worker.busy_child(partition)
    assert wait_until(lambda: child.status() == psutil.STATUS_STOPPED, timeout_seconds=10), worker.log
    return child


def is_reported(partition: Partition, *, timeout_seconds: float = 10) -> bool:
    return wait_until(
        lambda: partition.cursor.death_signal is not None, timeout_seconds=timeout_seconds, poll_seconds=0.01
    )


def has_committed(partition: Partition) -> bool:
    return wait_until(lambda: partition.cursor.next_offset == partition.end, timeout_seconds=20)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=lambda number: number.name)
def test_the_signal_that_ended_a_process_in_a_range_is_in_the_cursor_at_once(
    partition: Partition, tmp_path: Path, number: signal.Signals
) -> None:
    with running_worker(tmp_path, environment=FREEZE) as worker:
        child = frozen_in_a_range(worker, partition)
        killed_at = time.monotonic()
        child.send_signal(number)
        with suppress(psutil.NoSuchProcess):  # SIGKILL does not wait for it
            child.send_signal(signal.SIGCONT)
        assert is_reported(partition), worker.log
        seconds = time.monotonic() - killed_at
        print(f"reported after {seconds:.3f} s")
        assert seconds < REPORT_BOUND_SECONDS
        assert partition.cursor.death_signal == number


def test_a_range_whose_process_dies_before_it_begins_may_be_sent_again_at_once(
    partition: Partition, tmp_path: Path
) -> None:
    with running_worker(tmp_path, environment={FAILPOINTS: "before_lock=freeze"}) as worker:
        partition.append(event(partition.end))
        task = dispatch_all(partition)
        (child,) = worker.children()
        assert wait_until(lambda: child.status() == psutil.STATUS_STOPPED, timeout_seconds=10), worker.log
        child.kill()
        killed_at = time.monotonic()
        assert wait_until(lambda: partition.cursor.ended_attempt == task.attempt, timeout_seconds=10), worker.log
        assert time.monotonic() - killed_at < REPORT_BOUND_SECONDS
    assert partition.cursor.death_signal is None


def test_a_range_that_burns_cpu_is_ended_by_the_kernel_and_reported(partition: Partition, tmp_path: Path) -> None:
    environment = {FAILPOINTS: "after_read=burn(50)", "SENTINEL_RECORD_CPU_SECONDS": "1"}
    with running_worker(tmp_path, environment=environment) as worker:
        partition.append(event())
        dispatch_all(partition)
        worker.busy_child(partition)
        assert is_reported(partition, timeout_seconds=40), worker.log
        assert partition.cursor.death_signal == signal.SIGXCPU


def test_the_hard_time_limit_ends_a_process_and_is_reported_as_such(partition: Partition, tmp_path: Path) -> None:
    environment = {**FREEZE, "SENTINEL_TASK_TIME_LIMIT_SECONDS": str(HARD_LIMIT_SECONDS)}
    with running_worker(tmp_path, environment=environment) as worker:
        child = frozen_in_a_range(worker, partition)
        assert is_reported(partition, timeout_seconds=HARD_LIMIT_SECONDS + 15), worker.log
        assert partition.cursor.death_signal == TIMED_OUT
        assert not child.is_running()
        assert wait_until(worker.has_full_pool, timeout_seconds=5)


def test_a_signal_to_the_whole_group_lets_a_range_end_in_a_commit(partition: Partition, tmp_path: Path) -> None:
    with running_worker(tmp_path, environment={FAILPOINTS: "after_read=sleep(2)"}) as worker:
        partition.append(event())
        task = dispatch_all(partition)
        worker.busy_child(partition)
        worker.signal_group(signal.SIGTERM)
        assert worker.process.wait(timeout=20) == 0, worker.log
    cursor = partition.cursor
    assert (cursor.next_offset, cursor.ended_attempt, cursor.death_signal) == (partition.end, task.attempt, None)


def test_a_process_that_dies_while_its_worker_stops_proves_nothing(partition: Partition, tmp_path: Path) -> None:
    with running_worker(tmp_path, environment=FREEZE) as worker:
        child = frozen_in_a_range(worker, partition)
        worker.signal_group(signal.SIGTERM)
        assert wait_until(lambda: "Warm shutdown" in worker.log, timeout_seconds=10)
        child.kill()
        worker.process.wait(timeout=20)
    assert partition.cursor.death_signal is None
    assert partition.cursor.started_at is not None


def test_a_worker_that_must_end_at_once_gives_up_its_range_without_suspicion(
    partition: Partition, tmp_path: Path
) -> None:
    with running_worker(tmp_path, environment=FREEZE) as worker:
        child = frozen_in_a_range(worker, partition)
        worker.process.send_signal(signal.SIGQUIT)
        worker.process.wait(timeout=15)
        assert not child.is_running()
        assert is_reported(partition), worker.log
    assert partition.cursor.death_signal == signal.SIGTERM


def test_a_process_that_crashes_leaves_no_core_file(partition: Partition, tmp_path: Path) -> None:
    with running_worker(tmp_path) as worker:
        assert [child.rlimit(psutil.RLIMIT_CORE) for child in worker.children()] == [(0, 0)]


def test_the_processes_die_with_their_parent(partition: Partition, tmp_path: Path) -> None:
    with running_worker(tmp_path, concurrency=2, environment=FREEZE) as worker:
        frozen_in_a_range(worker, partition)
        children = worker.children()
        worker.process.kill()
        assert wait_until(lambda: not any(child.is_running() for child in children), timeout_seconds=5)


def test_a_pool_keeps_its_size_and_its_descriptors_however_often_a_process_dies(
    partition: Partition, tmp_path: Path
) -> None:
    with running_worker(tmp_path, concurrency=2, environment=FREEZE) as worker:
        parent = psutil.Process(worker.process.pid)
        descriptors = []
        for _ in range(KILLS):
            frozen_in_a_range(worker, partition).kill()
            assert is_reported(partition), worker.log
            assert wait_until(worker.has_full_pool, timeout_seconds=5), worker.log
            descriptors.append(parent.num_fds())
        print(f"descriptors after each kill: {descriptors}")
        # Some are counted while the pipes of the one that died, or of its successor, are still there.
        assert min(descriptors[KILLS // 2 :]) <= min(descriptors[: KILLS // 2])
        assert parent.num_threads() == 1  # A thread would not survive the forks, or would hold a lock in them.
        assert not [child for child in parent.children() if child.status() == psutil.STATUS_ZOMBIE][1:]


def test_a_successor_takes_the_next_range_at_once(partition: Partition, tmp_path: Path) -> None:
    environment = {FAILPOINTS: "after_read=kill:once", DIRECTORY_VARIABLE: str(tmp_path)}
    with running_worker(tmp_path, environment=environment) as worker:
        partition.append(event())
        dispatch_all(partition)
        assert is_reported(partition), worker.log
        died_at = time.monotonic()
        dispatch_all(partition)
        assert has_committed(partition), worker.log
        seconds = time.monotonic() - died_at
        print(f"committed {seconds:.3f} s after the death was known")
        assert seconds < NEXT_BOUND_SECONDS
