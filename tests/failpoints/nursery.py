"""A process that has imported everything and forks a child per request: a test pays for no import.

It holds no connection of any kind when it forks. Like the parent of Celery's pool it says at once which signal ended a
child, to the test and to the cursor (`ingestion.deaths`).

Run as `python -m tests.failpoints.nursery DESCRIPTOR`; the descriptor is a socket over which requests come, each with
the child's end of a channel. A request is a JSON object:

- `role`: "worker" or "bridge" (`tests.failpoints.roles`)
- `environment`: variables set in the child, above all `SENTINEL_FAILPOINTS`
- `session`: PostgreSQL settings for the child's sessions, in the form of `options`
- the rest is the role's own
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import django

from ingestion import failpoint as failpoints
from tests.failpoints.channel import MAX_BYTES, Channel

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Nursery:
    """The loop of the process."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, Channel] = {}
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        # Does nothing: that there is a handler makes the kernel's message reach the pipe.
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> None:
        """Serve until the test closes its end."""
        while True:
            readable, _, _ = select.select([self._control.fileno(), self._reader], [], [])
            if self._reader in readable:
                os.read(self._reader, 4096)
                self._collect()
            if self._control.fileno() in readable:
                received, descriptors, _, _ = socket.recv_fds(self._control, MAX_BYTES, 1)
                if not received:
                    return
                self._bear(json.loads(received), socket.socket(fileno=descriptors[0]))

    def _bear(self, request: dict[str, Any], end: socket.socket) -> None:
        parent, channel = os.getpid(), Channel(end)
        pid = os.fork()
        if pid:
            self._children[pid] = channel
            channel.say(born=pid)
            return
        _libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._control.close()
        for other in self._children.values():
            other.close()
        live(request, channel)

    def _collect(self) -> None:
        """Tell of every child that has stopped or ended."""
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            if not pid:
                return
            if os.WIFSTOPPED(status):
                self._children[pid].say(stopped=pid)
                continue
            channel, code = self._children.pop(pid), os.waitstatus_to_exitcode(status)
            if code < 0:
                self._report(pid, -code)
            with suppress(OSError):  # The test may have lost interest.
                channel.say(**{"died": -code} if code < 0 else {"exited": code})
            channel.close()

    @staticmethod
    def _report(pid: int, number: int) -> None:
        from django.db import Error

        from ingestion.deaths import report_death, worker_name

        try:
            report_death(worker=worker_name(pid=pid), signal_number=number)
        except Error as error:
            print(f"death of {pid} not reported: {error}", file=sys.stderr, flush=True)


def live(request: dict[str, Any], channel: Channel) -> None:
    """Be the child that was asked for, to its end."""
    from tests.failpoints.roles import ROLES

    code = 1
    try:
        arm(request["environment"])
        ROLES[request["role"]](request, channel)
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def arm(environment: dict[str, str]) -> None:
    """Arm what the variables say, as an import in a process of its own would."""
    os.environ |= environment
    assert isinstance(failpoints.failpoint, failpoints.Failpoints)
    directory = os.environ.get(failpoints.DIRECTORY_VARIABLE)
    failpoints.failpoint.arm(
        failpoints.parse(os.environ.get(failpoints.VARIABLE, "")), directory=Path(directory) if directory else None
    )


def main() -> None:
    """Import everything, then serve."""
    django.setup()
    from tests.failpoints.roles import warm_up

    warm_up()
    gc.freeze()
    control = socket.socket(fileno=int(sys.argv[1]))
    Channel(control).say(ready=os.getpid())
    Nursery(control).run()


if __name__ == "__main__":
    main()
