"""Workers and bridges as processes of their own, forked by a nursery, for the tests to lead by the hand."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from django.db import connection

from ingestion import failpoint as failpoints
from ingestion.cursor import Dispatch
from tests.failpoints.channel import Channel, Message, socket_pair

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 60
# Nothing that a test asks for takes nearly as long.
ANSWER_SECONDS = 30
# Armed with nothing, so that a fork can be armed.
UNARMED = ";"


class Process:
    """One forked child; `queue` receives the ranges that it sends."""

    def __init__(self, channel: Channel, queue: deque[Dispatch]) -> None:
        self._channel = channel
        self._queue = queue
        self.pid: int = self.answer("born")["born"]
        self.is_alive = True
        self.is_frozen = False

    def ask(self, **order: Any) -> None:
        """Tell the process what to do, without waiting for it."""
        self._channel.say(**order)

    def answer(self, *expected: str) -> Message:
        """Wait for what comes of it: one of the messages of `tests.failpoints.roles` and `.nursery`."""
        while True:
            message = self._channel.hear()
            assert message is not None, "the process is gone"
            if "sent" in message:
                self._queue.append(Dispatch(*message["sent"]))
                continue
            self.is_frozen = "stopped" in message
            self.is_alive = not {"died", "exited"} & set(message)
            assert not expected or set(message) & set(expected), message
            return message

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self.is_frozen = False
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        """Let the process finish what it does, or kill it if it is frozen, and wait until it is gone."""
        if self.is_frozen:
            os.kill(self.pid, signal.SIGKILL)
        self._channel.socket.shutdown(socket.SHUT_WR)
        while self.is_alive:
            self.answer()
        self._channel.close()


class WorkerProcess(Process):
    """A worker's process."""

    def ingest(self, task: Dispatch) -> Message:
        """Have it ingest a range and wait until it has, or has failed, stopped or died."""
        self.ask(task=astuple(task))
        return self.answer("outcome", "raised", "stopped", "died")


class BridgeProcess(Process):
    """A bridge."""

    def step(self) -> Message:
        """Have it take a step and wait until it has, or has failed, stopped or died."""
        self.ask(step=True)
        return self.answer("stepped", "raised", "stopped", "died")


P = TypeVar("P", bound=Process)


class Processes:
    """The nursery, and what it has borne."""

    def __init__(self, control: Channel) -> None:
        self._control = control
        self._living: list[Process] = []

    def worker(self, queue: deque[Dispatch], **request: Any) -> WorkerProcess:
        """Fork a worker; see `_bear`, `roles.play_worker`."""
        return self._kept(WorkerProcess(self._bear(role="worker", **request), queue))

    def bridge(self, queue: deque[Dispatch], **request: Any) -> BridgeProcess:
        """Fork a bridge; see `_bear`, `roles.play_bridge`."""
        return self._kept(BridgeProcess(self._bear(role="bridge", **request), queue))

    def end_all(self) -> None:
        """End whatever still runs."""
        while self._living:
            self._living.pop().end()

    def _kept(self, process: P) -> P:
        self._living.append(process)
        return process

    def _bear(self, *, armed: str = "", directory: Path | None = None, **request: Any) -> Channel:
        """Ask for a child with the failpoints of `armed`, its hits traced in `directory`."""
        environment = {failpoints.VARIABLE: armed}
        if directory is not None:
            environment[failpoints.DIRECTORY_VARIABLE] = str(directory)
        mine, its = socket_pair()
        mine.settimeout(ANSWER_SECONDS)
        with its:
            message = json.dumps({**request, "environment": environment}).encode()
            socket.send_fds(self._control.socket, [message], [its.fileno()])
        return Channel(mine)


@contextmanager
def running_processes(log_path: Path, **environment: str) -> Iterator[Processes]:
    """Give a nursery on the database of the tests, which must exist; it ends with the block, and all that it bore."""
    mine, its = socket_pair()
    mine.settimeout(START_SECONDS)
    variables = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "SENTINEL_BROKERS": "",
        "SENTINEL_ROLE": "worker",
        failpoints.VARIABLE: UNARMED,
        **environment,
    }
    with its, log_path.open("wb") as log:
        command = [sys.executable, "-m", "tests.failpoints.nursery", str(its.fileno())]
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=variables, stdout=log, stderr=log, pass_fds=[its.fileno()]
        )
    control = Channel(mine)
    try:
        assert control.hear() is not None, log_path.read_text()
        processes = Processes(control)
        yield processes
        processes.end_all()
    finally:
        control.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def database_url() -> str:
    """Return the URL of the database that the tests use now."""
    values = connection.settings_dict
    query = urlencode({"host": values["HOST"], "port": values["PORT"]})
    return f"postgresql://{quote(values['USER'])}:{quote(values['PASSWORD'])}@/{quote(values['NAME'])}?{query}"
