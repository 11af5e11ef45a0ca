"""`sentinel up --detach`: the supervisor in a session of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from sentinel.installation import data_directory, running

POLL_SECONDS = 0.1


def start_detached(arguments: Sequence[str]) -> int:
    """Run `sentinel up` detached; copy what it prints until its start is over; return the exit code."""
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
            record = running()
            _copy(lines.read())
            if record is not None and record.pid == process.pid and record.started:
                return 0 if record.is_ready else 1
            time.sleep(POLL_SECONDS)
        _copy(lines.read())
    return process.returncode


def _copy(output: bytes) -> None:
    sys.stdout.write(output.decode("utf-8", "replace"))
    sys.stdout.flush()
