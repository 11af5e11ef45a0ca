"""An installation for one command alone: `sentinel up` in a data directory, stopped when the command ends."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sentinel import runtime
from sentinel.child import Child, Command
from sentinel.installation import DATA_DIRECTORY_VARIABLE

POLL_SECONDS = 0.05
STOP_SECONDS = 60.0
LOG_LINES = 15


class StartError(Exception):
    """The installation did not come up; the message holds the last lines of its log."""


@contextmanager
def own_installation(
    directory: Path | None,
    *,
    environment: Mapping[str, str],
    timeout_seconds: float,
    port: int | None = None,
    report: Callable[[str], None],
) -> Iterator[runtime.Runtime]:
    """Run `sentinel up` while the block runs; a `directory` of None is a temporary one, removed at the end.

    `report` gets a line for each process that became ready. From here on this process reads its settings from the
    installation, so that Django must not have been set up yet. Raises `StartError`.
    """
    keeps = directory is not None
    folder = directory or Path(tempfile.mkdtemp(prefix="sentinel-"))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (record := runtime.read(folder)) is not None and record.is_alive:
        raise StartError(f"an installation already runs in {folder}: `sentinel down` stops it")
    variables = {DATA_DIRECTORY_VARIABLE: str(folder), **environment}
    os.environ.update(variables)
    options = () if port is None else ("--port", str(port))
    command = Command(
        argv=(sys.executable, "-m", "sentinel.cli.main", "up", "--data-dir", str(folder), *options),
        environment={**variables, "PYTHONUNBUFFERED": "1"},
        stop_seconds=STOP_SECONDS,
    )
    # A request to end must stop what was started, as Ctrl-C does.
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    child = Child(command, log_path=folder / "up.log")
    try:
        yield _ready(child, folder, timeout_seconds=timeout_seconds, report=report)
    finally:
        child.stop()
        signal.signal(signal.SIGTERM, previous)
        if not keeps:
            shutil.rmtree(folder, ignore_errors=True)


def _ready(child: Child, folder: Path, *, timeout_seconds: float, report: Callable[[str], None]) -> runtime.Runtime:
    deadline = time.monotonic() + timeout_seconds
    reported: set[str] = set()
    while time.monotonic() < deadline:
        if child.exit_code() is not None:
            raise StartError("\n".join(["`sentinel up` ended:", *child.last_log_lines(LOG_LINES)]))
        record = runtime.read(folder)
        if record is not None and record.is_alive:
            for process in record.processes:
                if process.state in {runtime.State.READY, runtime.State.EXTERNAL} and process.name not in reported:
                    reported.add(process.name)
                    report(f"{process.name} is {process.state}")
            # The web process is started last: until it is there, the record lists only what has been started.
            if record.is_ready and any(process.name == "web" for process in record.processes):
                return record
        time.sleep(POLL_SECONDS)
    lines = child.last_log_lines(LOG_LINES)
    raise StartError("\n".join([f"`sentinel up` was not ready after {timeout_seconds:.0f} s:", *lines]))
