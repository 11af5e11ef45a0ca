"""The CPU that a range may use, in a process of its own: the limit ends it."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

BURN = """
def burn(seconds):
    "Use CPU inside C for the last part."
    deadline = time.process_time() + seconds
    while time.process_time() < deadline:
        pow(3, 2_000_000)
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    preamble = "import resource, time\nfrom sentinel.cpu_limit import cpu_limit, cpu_uncounted\n" + BURN
    return subprocess.run(
        [sys.executable, "-c", preamble + textwrap.dedent(script)], capture_output=True, text=True, timeout=60
    )


def test_a_block_that_uses_more_cpu_than_it_may_ends_its_process() -> None:
    found = run("""
        with cpu_limit(seconds=1):
            burn(30)
    """)
    assert found.returncode == -signal.SIGXCPU, found.stderr


def test_what_was_used_before_the_block_does_not_count() -> None:
    found = run("""
        burn(1.2)
        with cpu_limit(seconds=1):
            burn(0.4)
        print("alive")
    """)
    assert found.stdout == "alive\n", found.stderr


def test_the_limit_ends_with_the_block() -> None:
    found = run("""
        before = resource.getrlimit(resource.RLIMIT_CPU)
        with cpu_limit(seconds=1):
            assert resource.getrlimit(resource.RLIMIT_CPU) != before
        assert resource.getrlimit(resource.RLIMIT_CPU) == before
        burn(2.5)
        print("alive")
    """)
    assert found.stdout == "alive\n", found.stderr


def test_a_hard_limit_of_the_process_stays_and_bounds_the_block() -> None:
    found = run("""
        resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
        with cpu_limit(seconds=20):
            print(resource.getrlimit(resource.RLIMIT_CPU))
    """)
    assert found.stdout == "(10, 10)\n", found.stderr


def test_what_is_no_records_fault_does_not_count() -> None:
    found = run("""
        with cpu_limit(seconds=1):
            with cpu_uncounted():
                burn(2.5)
            burn(0.3)
            print("alive", flush=True)
            burn(30)
    """)
    assert (found.stdout, found.returncode) == ("alive\n", -signal.SIGXCPU), found.stderr


def test_without_a_limit_nothing_is_uncounted() -> None:
    found = run("""
        with cpu_uncounted():
            pass
        assert resource.getrlimit(resource.RLIMIT_CPU)[0] == resource.RLIM_INFINITY
        print("alive")
    """)
    assert found.stdout == "alive\n", found.stderr
