"""Celery's prefork pool, which says at once how one of its processes died.

Celery itself tells a task's failure only, and no difference between a crash, a time limit and a shutdown. Which signal
ended a process is the proof that a record can kill; the next dispatch waits for it (`ingestion.deaths`).
"""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from billiard.context import ForkProcess
from billiard.pool import RUN
from celery.concurrency import prefork
from celery.concurrency.asynpool import AsynPool
from celery.worker import state as worker_state

from ingestion.condition import Runbook
from ingestion.deaths import report_death, worker_name
from ingestion.suspicion import TIMED_OUT
from sentinel.celery import INGEST_RANGE

logger = structlog.get_logger(__name__)

EXIT_SECONDS = 0.2
EXIT_POLL_SECONDS = 0.001
# A reporter that has not ended by then hangs, be it in the resolver.
REPORT_SECONDS = 5
# What is told to stop at once has not died of a record, and no record is suspected after this signal.
STOPPED = signal.SIGTERM


@dataclass(frozen=True, slots=True)
class Death:
    """Which signal ended `worker`, and the attempts that it had `taken`: (cursor's id, attempt)."""

    worker: str
    signal_number: int
    taken: Collection[tuple[int, int]] = ()


class PoolProcess(ForkProcess):
    """A process of the pool; it ignores SIGTERM (`sentinel.worker_process`), so that the pool ends it by SIGKILL."""

    ended_by_pool = False

    def terminate(self) -> None:
        """End the process: at the hard time limit, and when the worker is told to stop at once."""
        if self.pid is not None and self.exitcode is None:
            self.ended_by_pool = True
            os.kill(self.pid, signal.SIGKILL)

    @property
    def death_signal(self) -> int | None:
        """The signal to report, None if the process ended by itself or still runs."""
        if self.exitcode is None or self.exitcode >= 0:
            return None
        return TIMED_OUT if self.ended_by_pool else -self.exitcode


class Pool(AsynPool):
    """Called by Celery's event loop as soon as a process has ended, and every few seconds."""

    _state: int  # not in the stubs

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._ended: list[PoolProcess] = []
        self._taken: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self._reporters: set[int] = set()
        super().__init__(*args, **kwargs)

    def Process(self, *args: Any, **kwargs: Any) -> PoolProcess:  # noqa: N802  # billiard's name
        return PoolProcess(*args, **kwargs)

    def _event_process_exit(self, hub: Any, process: PoolProcess) -> None:
        """A process closes its files a moment before its exit code can be read.

        Celery looks once, and then again when its timer fires: for up to five seconds nobody would know.
        """
        deadline = time.monotonic() + EXIT_SECONDS
        while process.exitcode is None and time.monotonic() < deadline:
            time.sleep(EXIT_POLL_SECONDS)
        super()._event_process_exit(hub, process)  # type: ignore[misc]  # not in the stubs

    def _process_cleanup_queues(self, process: PoolProcess) -> None:
        """Called once for each process that ended, but not when the pool is joined at shutdown."""
        super()._process_cleanup_queues(process)  # type: ignore[misc]  # not in the stubs
        self._ended.append(process)

    def on_job_process_lost(self, job: Any, pid: int, exitcode: int) -> None:
        """Called for the task that a process had accepted when it died, begun or not."""
        request = worker_state.requests.get(job.correlation_id)
        if request is not None and request.name == INGEST_RANGE:
            cursor_id, _, _, attempt = request.args
            self._taken[pid].append((cursor_id, attempt))
        super().on_job_process_lost(job, pid, exitcode)

    def _join_exited_workers(self, shutdown: bool = False) -> list[int]:
        """Report those that died before successors are forked: a fork must not inherit half a report."""
        joined: list[int] = super()._join_exited_workers(shutdown)  # type: ignore[misc]  # not in the stubs
        ended, self._ended = self._ended, []
        taken, self._taken = self._taken, defaultdict(list)
        deaths = [
            Death(worker_name(pid=process.pid), found, taken[process.pid])
            for process in ended
            if process.pid is not None and (found := process.death_signal)
        ]
        if deaths and not self._is_stopping():
            self._report(deaths)
        self._reporters = {pid for pid in self._reporters if not _has_ended(pid)}
        return joined

    def terminate_job(self, pid: int, sig: int | None = None) -> None:
        """Called for every task under way when the worker must not wait for them (SIGQUIT, a second Ctrl-C)."""
        super().terminate_job(pid, signal.SIGKILL)
        self._report([Death(worker_name(pid=pid), STOPPED)])

    def _is_stopping(self) -> bool:
        """Whoever stops a worker may kill its processes: that proves nothing."""
        told: list[object] = [worker_state.should_stop, worker_state.should_terminate]  # 0 means: yes, and exit with 0
        return self._state != RUN or any(item is not None and item is not False for item in told)

    def _report(self, deaths: Sequence[Death]) -> None:
        for death in deaths:
            logger.warning("worker.process_died", worker=death.worker, signal=_name(death.signal_number))
        try:
            self._reporters.add(_fork_reporter(deaths))
        except OSError as error:
            _say_unreported(error, [death.worker for death in deaths])


class TaskPool(prefork.TaskPool):
    """Named by the setting `worker_pool`."""

    Pool = Pool


def _fork_reporter(deaths: Sequence[Death]) -> int:
    """Report in a process of its own and return its id.

    The event loop must not wait for a database that hangs, or for the row lock of a session that still has to notice
    its client's death; a thread that resolves a host name or holds a lock must not be there at the next fork.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(REPORT_SECONDS)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for death in deaths:
            _report_or_log(death)
    finally:
        os._exit(0)


def _say_unreported(error: Exception, workers: Sequence[str]) -> None:
    logger.error(
        "worker.death_unreported",
        workers=workers,
        error=type(error).__name__,
        runbook=Runbook.UNEXPLAINED_DEATHS.path,
    )


def _report_or_log(death: Death) -> None:
    try:
        cursors = report_death(worker=death.worker, signal_number=death.signal_number, taken=death.taken)
    except Exception as error:  # noqa: BLE001  # The process boundary: a death without a report is handled, more slowly.
        _say_unreported(error, [death.worker])
    else:
        logger.info("worker.death_reported", worker=death.worker, signal=_name(death.signal_number), cursors=cursors)


def _has_ended(pid: int) -> bool:
    """Collect the reporter if it has ended."""
    try:
        return os.waitpid(pid, os.WNOHANG) != (0, 0)
    except ChildProcessError:
        return True


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return str(number)
