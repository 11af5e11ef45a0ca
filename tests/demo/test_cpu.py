"""CPU seconds are those of a process and all it started."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from sentinel.demo.cpu import CpuMeter, tree_seconds

# The kernel counts in ticks of a hundredth of a second: burn some more than what is asked for.
BURN = "import time\nwhile time.process_time() < 0.35: pass"


def test_a_child_that_ended_counts_with_its_parent() -> None:
    meter = CpuMeter.start([("us", os.getpid())])
    subprocess.run([sys.executable, "-c", BURN], check=True)
    assert meter.seconds()["us"] >= 0.3


def test_a_child_that_runs_counts_with_its_parent() -> None:
    meter = CpuMeter.start([("us", os.getpid())])
    with subprocess.Popen([sys.executable, "-c", BURN + "\ninput()"], stdin=subprocess.PIPE) as child:
        deadline = time.monotonic() + 30
        while meter.seconds()["us"] < 0.3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert meter.seconds()["us"] >= 0.3
        child.communicate(b"\n")


def test_a_process_that_is_gone_counts_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert tree_seconds(child.pid) == 0.0


def test_processes_of_one_name_are_one_group() -> None:
    meter = CpuMeter.start([("worker", os.getpid()), ("worker", os.getppid()), ("web", os.getpid())])
    assert set(meter.seconds()) == {"worker", "web"}
