"""`sentinel down`: stop what `sentinel up` started."""

from __future__ import annotations

import argparse
import os
import signal
import time

NAME = "down"
HELP = "stop what `sentinel up` started"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Stop everything that `sentinel up` started and wait until it has ended. Data stay."
    parser.add_argument(
        "--timeout", type=float, default=90, metavar="S", help="then kill it, after S seconds (default: 90)"
    )


def run(args: argparse.Namespace) -> int:
    from sentinel import leftovers
    from sentinel.child import wait_until
    from sentinel.installation import data_directory, running

    record = running()
    directory = data_directory()
    if record is None:
        left = leftovers.clear_if_unlocked(directory)
        print(f"ended {', '.join(left)}" if left else f"nothing runs in {directory}")
        return 0
    begun = time.monotonic()
    os.kill(record.pid, signal.SIGTERM)
    if not wait_until(lambda: not record.is_alive, timeout_seconds=args.timeout, poll_seconds=0.05):
        # Its children end with it; the kernel sees to that.
        os.kill(record.pid, signal.SIGKILL)
        wait_until(lambda: not record.is_alive, timeout_seconds=10)
        leftovers.clear_if_unlocked(directory)
        print(f"killed after {time.monotonic() - begun:.1f} s")
        return 1
    print(f"stopped in {time.monotonic() - begun:.1f} s")
    return 0
