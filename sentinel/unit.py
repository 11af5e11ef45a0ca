"""One supervised process: started, watched, restarted with growing pauses after a crash."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sentinel.child import Child, rotate
from sentinel.runtime import ProcessRecord, State
from sentinel.services.base import Runnable, ServiceUnavailable

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 30.0
# Who has worked for this long starts over with the shortest pause.
STEADY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Ready:
    """The process says that it works, `seconds` after it was started."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Crashed:
    """The process ended by itself or did not become ready; it starts again in `pause_seconds`."""

    reason: str
    pause_seconds: float


class Unit:
    """A `Runnable`, its current `Child` and its history. Not thread-safe: one supervisor polls it."""

    def __init__(self, runnable: Runnable, *, log_directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.runnable = runnable
        self.state = State.STARTING
        self.restarts = 0
        self._log_path = log_directory / f"{runnable.name}.log"
        self._clock = clock
        self._child: Child | None = None
        self._started_at = self._ready_at = clock()
        self._start_again_at: float | None = None
        self._failures = 0

    @property
    def name(self) -> str:
        """Return the name of what runs."""
        return self.runnable.name

    def launch(self) -> None:
        """Start the process; `runnable.prepare()` must have been called."""
        self._started_at = self._clock()
        self._start_again_at = None
        self.state = State.STARTING
        self._child = Child(self.runnable.command(), log_path=self._log_path)

    def poll(self) -> Ready | Crashed | None:
        """Look after the process; return what has changed. Takes a second at most."""
        if self._child is None:
            return self._restart_when_due()
        if (code := self._child.exit_code()) is not None:
            return self._fail(_describe_exit(code, self._child.last_log_lines(1)))
        if self.state is not State.STARTING:
            return None
        if self.runnable.is_ready():
            self.runnable.after_start()
            self.state = State.READY
            self._ready_at = self._clock()
            return Ready(self._ready_at - self._started_at)
        if self._clock() - self._started_at > self.runnable.start_timeout_seconds:
            return self._fail(f"not ready after {self.runnable.start_timeout_seconds:g} s")
        return None

    def _fail(self, reason: str) -> Crashed:
        if self._child is not None:
            self._child.kill()  # and what its children left behind
        self._child = None
        if self.state is State.READY and self._clock() - self._ready_at > STEADY_SECONDS:
            self._failures = 0
        pause = min(FIRST_PAUSE_SECONDS * 2**self._failures, LONGEST_PAUSE_SECONDS)
        self._failures += 1
        self._start_again_at = self._clock() + pause
        self.state = State.CRASHED
        return Crashed(reason, pause)

    def _restart_when_due(self) -> Crashed | None:
        if self._start_again_at is None or self._clock() < self._start_again_at:
            return None
        self.restarts += 1
        try:
            self.runnable.prepare()
            self.launch()
        except (ServiceUnavailable, OSError) as error:
            return self._fail(str(error))
        return None

    def ask_to_stop(self) -> None:
        """Ask the process to end, without waiting; it is not started again."""
        self._start_again_at = None
        if self._child is not None:
            self._child.ask_to_stop()

    def wait(self, *, at_once: bool) -> bool:
        """Wait for the end that was asked for, killing after the time its command allows or `at_once`.

        Return whether it ended by itself.
        """
        ended = self._child is None or self._child.wait(timeout_seconds=0 if at_once else None)
        self._child = None
        self.state = State.STOPPED
        return ended

    def rotate_log(self) -> None:
        """Keep the log below its size."""
        rotate(self._log_path)

    def record(self) -> ProcessRecord:
        """Return what `sentinel status` shows."""
        return ProcessRecord(
            name=self.name,
            state=self.state,
            pid=self._child.pid if self._child else None,
            started_at=self._child.started_at if self._child else None,
            port=self.runnable.port,
            url=self.runnable.address,
            restarts=self.restarts,
        )


def _describe_exit(code: int, last_lines: list[str]) -> str:
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"{how}: {last_lines[-1].strip()[:200]}" if last_lines and code > 0 else how
