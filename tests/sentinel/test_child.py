from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from sentinel.child import Child, Command, last_lines, rotate, wait_until

FOREVER = ("sleep", "1000")


@contextmanager
def running(command: Command, log_path: Path) -> Iterator[Child]:
    child = Child(command, log_path=log_path)
    try:
        yield child
    finally:
        child.kill()


def shell(script: str) -> Command:
    return Command(argv=("sh", "-c", script))


def test_a_child_writes_to_its_log_and_reports_its_exit_code(tmp_path: Path) -> None:
    with running(shell("echo out; echo err >&2; exit 3"), tmp_path / "log") as child:
        assert child.wait(timeout_seconds=10)
        assert child.exit_code() == 3
        assert child.last_log_lines(2) == ["out", "err"]


def test_a_child_that_stops_when_asked_is_not_killed(tmp_path: Path) -> None:
    with running(Command(argv=FOREVER), tmp_path / "log") as child:
        assert child.stop()
        assert child.exit_code() == -signal.SIGTERM


def test_a_child_that_does_not_stop_is_killed_after_its_time(tmp_path: Path) -> None:
    stubborn = Command(argv=("sh", "-c", "trap '' TERM; echo set; while :; do sleep 0.1; done"), stop_seconds=0.2)
    with running(stubborn, tmp_path / "log") as child:
        assert wait_until(lambda: child.last_log_lines(1) == ["set"], timeout_seconds=10)
        assert not child.stop()
        assert child.exit_code() == -signal.SIGKILL


def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    with running(shell("sleep 1000 & echo $!; wait"), tmp_path / "log") as child:
        assert wait_until(lambda: bool(child.last_log_lines(1)), timeout_seconds=10)
        grandchild = int(child.last_log_lines(1)[0])
        child.kill()
        assert wait_until(lambda: not is_running(grandchild), timeout_seconds=10)


def test_ctrl_c_in_the_terminal_does_not_reach_a_child(tmp_path: Path) -> None:
    with running(Command(argv=FOREVER), tmp_path / "log") as child:
        assert os.getpgid(child.pid) == child.pid != os.getpgid(0)


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from sentinel.child import Child, Command
        child = Child(Command(argv={FOREVER!r}), log_path=Path({str(tmp_path / "log")!r}))
        print(child.pid, flush=True)
        time.sleep(1000)
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
        assert is_running(orphan)
        parent.kill()
    assert wait_until(lambda: not is_running(orphan), timeout_seconds=10)


def test_a_log_that_grew_too_large_is_moved_away_under_its_writer(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(shell("echo first; while [ ! -e go ]; do sleep 0.05; done; echo second; sleep 1000"), log) as child:
        assert wait_until(lambda: child.last_log_lines(1) == ["first"], timeout_seconds=10)
        assert not rotate(log, max_bytes=100)
        assert rotate(log, max_bytes=3)
        assert (tmp_path / "log.1").read_text() == "first\n"
        assert log.read_text() == ""


def test_a_writer_goes_on_in_the_log_that_was_cut(tmp_path: Path) -> None:
    log, go = tmp_path / "log", tmp_path / "go"
    with running(shell(f"echo first; while [ ! -e {go} ]; do sleep 0.05; done; echo second"), log) as child:
        assert wait_until(lambda: child.last_log_lines(1) == ["first"], timeout_seconds=10)
        rotate(log, max_bytes=3)
        go.touch()
        assert child.wait(timeout_seconds=10)
    assert log.read_text() == "second\n"


def test_a_log_is_cut_also_where_the_disk_takes_no_copy_of_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("too long")
    (tmp_path / "log.1").symlink_to("/dev/full")
    assert rotate(log, max_bytes=3)
    assert log.read_text() == ""
    assert not (tmp_path / "log.1").exists()


def test_the_last_lines_of_a_log_that_is_not_there_are_none(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "missing", 3) == []


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
