"""A child process: started in a group of its own, ended with its parent, its output in a log file of bounded size."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentinel.runtime import start_time

MAX_LOG_BYTES = 10 * 1024 * 1024
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How to run a process and how to ask it to stop.

    `user` is a (uid, gid) to run as, for what refuses root. `stop_signal` asks for a clean end; whoever has not ended
    `stop_seconds` later is killed. `orphan_signal` is what it receives when its parent dies without stopping it.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)  # on top of our own; may hold passwords
    directory: Path | None = None
    user: tuple[int, int] | None = None
    descriptors: tuple[int, ...] = ()  # that the child inherits, besides standard output
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    orphan_signal: signal.Signals = signal.SIGKILL


class Child:
    """One run of a `Command`. Start it from a thread that lives as long as the child should: Linux ends it with it."""

    def __init__(self, command: Command, *, log_path: Path) -> None:
        self._command = command
        self._log_path = log_path
        rotate(log_path)
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=command.directory,
                env={**os.environ, **command.environment},
                process_group=0,
                pass_fds=command.descriptors,
                # Safe although threads may run: it makes two system calls and takes no lock.
                preexec_fn=_follow_parent(command.orphan_signal),  # noqa: PLW1509
                **_credentials(command.user),
            )
        self.pid = self._process.pid
        self.started_at = start_time(self.pid)

    def exit_code(self) -> int | None:
        """Return the exit code (negative: the signal that ended it), None while it runs."""
        return self._process.poll()

    def ask_to_stop(self) -> None:
        """Send the stop signal, if the child still runs."""
        if self.exit_code() is None:
            self._process.send_signal(self._command.stop_signal)

    def wait(self, *, timeout_seconds: float | None = None) -> bool:
        """Wait until the child ends, by default as long as its command allows; kill its group if it does not.

        Return whether it ended by itself.
        """
        try:
            self._process.wait(self._command.stop_seconds if timeout_seconds is None else timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        self._kill_group()  # what a child of its own may have left behind
        return True

    def stop(self) -> bool:
        """Ask the child to stop and wait for it; return whether it ended by itself."""
        self.ask_to_stop()
        return self.wait()

    def kill(self) -> None:
        """End the child and all it started, at once."""
        self._kill_group()
        self._process.wait()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def last_log_lines(self, count: int) -> list[str]:
        """Return the last lines that the child wrote, to say why it ended."""
        return last_lines(self._log_path, count)


def _credentials(user: tuple[int, int] | None) -> dict[str, Any]:
    return {} if user is None else {"user": user[0], "group": user[1], "extra_groups": []}


def _follow_parent(orphan_signal: signal.Signals) -> Callable[[], None] | None:
    """Return what makes a child receive `orphan_signal` when its parent dies, be it by SIGKILL; Linux only."""
    if _libc is None:
        return None
    parent = os.getpid()

    def follow() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(orphan_signal), 0, 0, 0)
        if os.getppid() != parent:  # It died before the call above.
            os._exit(1)

    return follow


def rotate(path: Path, *, max_bytes: int = MAX_LOG_BYTES) -> bool:
    """Move a log of more than `max_bytes` to `<name>.1`, in place, so that its writer (who appends) needs no signal.

    What is written between copy and cut, a few lines at most, is lost: logs are for people, no promise rests on them.
    Where the disk is full, all old lines are.
    """
    try:
        if path.stat().st_size <= max_bytes:
            return False
    except FileNotFoundError:
        return False
    kept = path.with_name(path.name + ".1")
    try:
        shutil.copyfile(path, kept)
    except OSError:  # Whoever writes here must go on, and what looks after it.
        kept.unlink(missing_ok=True)
    os.truncate(path, 0)
    return True


def last_lines(path: Path, count: int) -> list[str]:
    """Return the last `count` lines that are not blank of a log file, none if it does not exist."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 64 * 1024))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []
    return [line for line in lines if line.strip()][-count:]


def wait_until(condition: Callable[[], bool], *, timeout_seconds: float, poll_seconds: float = 0.02) -> bool:
    """Poll `condition` until it holds; return False if it does not within `timeout_seconds`."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(poll_seconds)
    return True
