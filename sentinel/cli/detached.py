"""`sentinel up --detach`: the supervisor in a session of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from sentinel.installation import data_directory, running

POLL_SECONDS = 0.1


def start_detached(arguments: Sequence[str]) -> int:
    """Run `sentinel up` detached; copy what it prints until it is ready or ends; return the exit code."""
    log = data_directory() / "logs" / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "sentinel.cli.main", "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with log.open("rb") as lines:
        while process.poll() is None:
            ready = _is_ready(process.pid)
            _copy(lines.read())
            if ready:
                return 0
            time.sleep(POLL_SECONDS)
        _copy(lines.read())
    return process.returncode


def _is_ready(pid: int) -> bool:
    record = running()
    return record is not None and record.pid == pid and record.is_ready


def _copy(output: bytes) -> None:
    sys.stdout.write(output.decode("utf-8", "replace"))
    sys.stdout.flush()
