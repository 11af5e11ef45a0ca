"""A whole installation for a test, run as a user runs it: `sentinel up` in a temporary data directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sentinel import runtime

START_SECONDS = 180
FOREIGN = ("SENTINEL_", "DATABASE_URL", "REDIS_URL", "PROMETHEUS_", "DJANGO_")


def environment(directory: Path) -> dict[str, str]:
    """Return the environment without what the other tests set: their servers are not ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {**kept, "SENTINEL_DATA_DIR": str(directory), "XDG_STATE_HOME": str(directory / "state")}


class Installation:
    """The data directory of a `sentinel up` and its commands."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "sentinel.cli.main", *arguments]
        return subprocess.Popen(command, env=environment(self.directory), text=True, **options)

    def run(self, *arguments: str, code: int = 0, stdin: str | None = None) -> str:
        """Run a command to its end and return its standard output."""
        pipe = subprocess.PIPE
        with self.start(*arguments, stdin=pipe, stdout=pipe, stderr=pipe) as process:
            output, errors = process.communicate(stdin, timeout=180)
        assert process.returncode == code, f"{errors}\n{output}"
        return output

    def json(self, *arguments: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run(*arguments, "--json"))
        return document


@contextmanager
def running_installation(directory: Path) -> Iterator[Installation]:
    """Run `sentinel up` while the block runs; its output goes to up.txt."""
    found = Installation(directory)
    with (directory / "up.txt").open("w") as output, found.start("up", stdout=output, stderr=output) as process:
        try:
            _wait_until_ready(directory, process)
            yield found
        finally:
            process.send_signal(signal.SIGTERM)


def _wait_until_ready(directory: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        record = runtime.read(directory)
        if record is not None and record.is_ready and any(item.name == "web" for item in record.processes):
            return
        assert process.poll() is None, (directory / "up.txt").read_text()
        time.sleep(0.2)
    pytest.fail((directory / "up.txt").read_text())
