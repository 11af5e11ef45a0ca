"""Sentinel's own processes in a test: looked after as `sentinel up` does, each with an environment of its own."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import psutil

from sentinel.child import Command, wait_until
from sentinel.processes import NotifyingProcess
from sentinel.runtime import ProcessRecord, State
from sentinel.unit import Crashed, Unit
from tests.faults.servers import REPOSITORY

POLL_SECONDS = 0.02
READY_SECONDS = 180.0


class Role(NotifyingProcess):
    """A subcommand of `sentinel`: "bridge", "worker"; two of a kind have different names.

    `prefix` runs it inside another command, such as `prlimit` or `faketime`.
    """

    start_timeout_seconds = READY_SECONDS

    def __init__(
        self,
        name: str,
        *,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        prefix: Sequence[str] = (),
    ) -> None:
        super().__init__(name, directory=directory)
        self._prefix, self._arguments = tuple(prefix), tuple(arguments)
        self._environment = environment

    def command(self) -> Command:
        return Command(
            argv=(*self._prefix, sys.executable, "-m", "sentinel.cli.main", *self._arguments),
            environment={**self._environment, **self.readiness_environment()},
            directory=REPOSITORY,
            stop_seconds=30.0,
        )


@dataclass(frozen=True, slots=True)
class End:
    """A process that ended by itself or by a signal, and was started again; `reason` is what its supervisor says."""

    name: str
    pid: int
    reason: str


class Crew:
    """Starts again whoever ends by itself, with the pauses of `sentinel up`. All children belong to one thread of it."""

    def __init__(self, *, log_directory: Path) -> None:
        self.groups: set[int] = set()  # of all processes there ever were
        self.ends: list[End] = []
        self._log_directory = log_directory
        self._units: dict[str, Unit] = {}
        self._calls: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="crew", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            with suppress(Empty):
                call, future = self._calls.get(timeout=POLL_SECONDS)
                try:
                    future.set_result(call())
                except BaseException as error:  # noqa: BLE001  # belongs to whoever called
                    future.set_exception(error)
            for unit in self._units.values():
                before = unit.record().pid
                change = unit.poll()
                if isinstance(change, Crashed) and before is not None:
                    self.ends.append(End(unit.name, before, change.reason))
                if (pid := unit.record().pid) is not None:
                    self.groups.add(pid)

    def _call(self, call: Callable[[], Any]) -> Any:
        """Run `call` in the thread that all children belong to: Linux ends them with it."""
        future: Future[Any] = Future()
        self._calls.put((call, future))
        return future.result(timeout=READY_SECONDS)

    # --- starting and stopping ---------------------------------------------------------------------------------------

    def start(self, role: Role) -> None:
        """Start a process; `wait_until_ready` waits for it."""

        def launch() -> None:
            assert role.name not in self._units, role.name
            unit = Unit(role, log_directory=self._log_directory)
            role.prepare()
            unit.launch()
            self._units[role.name] = unit

        self._call(launch)

    def wait_until_ready(self, *names: str, restarts: int = 0) -> None:
        """Return once these, by default all, are ready, having been restarted at least so often."""

        def ready() -> bool:
            records = [self.record(name) for name in names or self.names]
            return all(item.state is State.READY and item.restarts >= restarts for item in records)

        assert wait_until(ready, timeout_seconds=READY_SECONDS, poll_seconds=POLL_SECONDS), self.logs()

    def stop(self, name: str) -> bool:
        """Ask for a clean end and wait for it; the process is not started again. Return whether it ended by itself."""
        unit = self._call(lambda: self._units.pop(name))
        self._wake(unit.record().pid)
        unit.ask_to_stop()
        return bool(unit.wait(at_once=False))

    def remove(self, name: str) -> None:
        """Kill a process and its children; it is not started again."""
        unit = self._call(lambda: self._units.pop(name))
        unit.wait(at_once=True)

    def close(self) -> list[str]:
        """Ask everybody to end and wait for it; return who had to be killed."""
        units = self._call(self._released) if self._thread.is_alive() else []
        for unit in units:
            self._wake(unit.record().pid)
            unit.ask_to_stop()
        slow = [unit.name for unit in units if not unit.wait(at_once=False)]
        self._stopping.set()
        self._thread.join(timeout=10)
        return slow

    def _released(self) -> list[Unit]:
        units, self._units = list(self._units.values()), {}
        return units

    # --- looking and signalling --------------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        return list(self._units)

    def record(self, name: str) -> ProcessRecord:
        return self._units[name].record()

    def pid(self, name: str) -> int:
        """Return the pid of a process; while it is being restarted, wait for it."""
        assert wait_until(lambda: self.record(name).pid is not None, timeout_seconds=READY_SECONDS)
        pid = self.record(name).pid
        assert pid is not None
        return pid

    def children(self, name: str) -> list[psutil.Process]:
        """Return the children of a process: the pool of a worker."""
        return psutil.Process(self.pid(name)).children()

    def send_signal(self, name: str, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to a process, or to its group: itself and all it has started."""
        pid = self.pid(name)
        (os.killpg if group else os.kill)(pid, number)

    @staticmethod
    def _wake(pid: int | None) -> None:
        if pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGCONT)

    def wake(self) -> None:
        """Continue whoever was suspended and forgotten."""
        for name in self.names:
            self._wake(self.record(name).pid)

    def logs(self, lines: int = 30) -> str:
        """Return the last lines of every process, to say why something does not work."""
        parts = []
        for path in sorted(self._log_directory.glob("*.log")):
            text = path.read_text(errors="replace").splitlines()[-lines:]
            parts.append(f"--- {path.name}\n" + "\n".join(text))
        return "\n".join(parts)
