"""Failpoints: read from the environment, named in one place, nothing where they are not asked for."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestion import failpoint as failpoints
from ingestion.failpoint import (
    BRIDGE_POINTS,
    DIRECTORY_VARIABLE,
    FAILURE_POINTS,
    POINTS,
    VARIABLE,
    WORKER_POINTS,
    Failpoint,
    FailpointError,
    Failpoints,
    FailpointSyntaxError,
    parse,
)

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("ingestion", "detection", "alerting", "sentinel")
HIT = "from ingestion.failpoint import failpoint\n{}print('survived')"


def names_in_code() -> Iterator[str]:
    """Yield the argument of every call of `failpoint`, wherever it stands."""
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            source = path.read_text()
            if "failpoint(" not in source:
                continue
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "failpoint":
                    argument = node.args[0]
                    assert isinstance(argument, ast.Constant), f"{path}:{node.lineno} names its point indirectly"
                    yield str(argument.value)


def run(*hits: str, armed: str | None = None, directory: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Reach points, in a process of its own, with the variable set to `armed`."""
    kept = {name: value for name, value in os.environ.items() if name not in {VARIABLE, DIRECTORY_VARIABLE}}
    if armed is not None:
        kept[VARIABLE] = armed
    if directory is not None:
        kept[DIRECTORY_VARIABLE] = str(directory)
    script = HIT.format("".join(f"failpoint({name!r})\n" for name in hits))
    return subprocess.run(
        [sys.executable, "-c", script], env=kept, cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )


# --- the names ---------------------------------------------------------------------------------------------------------


def test_every_point_of_the_code_is_known_and_every_known_point_is_in_the_code() -> None:
    assert set(names_in_code()) == POINTS


def test_no_name_belongs_to_bridge_and_worker() -> None:
    assert len(POINTS) == len(WORKER_POINTS) + len(FAILURE_POINTS) + len(BRIDGE_POINTS)


def test_reaching_a_point_that_nobody_knows_fails_as_soon_as_any_is_armed() -> None:
    armed = Failpoints(parse("before_lock=pass"))
    with pytest.raises(FailpointSyntaxError, match="before_lokc"):
        armed("before_lokc")


# --- the variable ------------------------------------------------------------------------------------------------------


def test_an_unset_variable_leaves_a_function_that_does_nothing() -> None:
    assert VARIABLE not in os.environ
    assert not isinstance(failpoints.failpoint, Failpoints)
    found = run("before_commit", "a point that is none")
    assert (found.returncode, found.stdout) == (0, "survived\n")


def test_a_point_that_is_not_armed_costs_less_than_a_microsecond() -> None:
    point = failpoints.failpoint
    best = float("inf")
    for _ in range(20):
        started_at = time.perf_counter()
        for _ in range(1_000):
            point("before_commit")
        best = min(best, time.perf_counter() - started_at)
    assert best / 1_000 < 1e-6


def test_the_variable_kills_the_process_at_its_point() -> None:
    found = run("after_read", "before_commit", armed="before_commit=kill")
    assert (found.returncode, found.stdout) == (-signal.SIGKILL, "")


def test_the_variable_kills_no_process_that_does_not_come_by() -> None:
    found = run("after_read", armed="before_commit=kill")
    assert (found.returncode, found.stdout) == (0, "survived\n")


def test_a_variable_that_cannot_be_read_stops_the_process_at_its_start() -> None:
    found = run("after_read", armed="after_raed=kill")
    assert found.returncode == 1
    assert "SENTINEL_FAILPOINTS: 'after_raed=kill': there is no point after_raed" in found.stderr


def test_once_acts_in_one_process_only_and_says_so_in_the_trace(tmp_path: Path) -> None:
    armed = "after_read=signal(SIGSEGV):once"
    first = run("after_read", armed=armed, directory=tmp_path)
    second = run("after_read", armed=armed, directory=tmp_path)
    assert (first.returncode, second.returncode) == (-signal.SIGSEGV, 0)
    (line,) = (tmp_path / "hits.log").read_text().splitlines()
    assert line.split()[2:] == ["after_read", "signal"]


# --- the syntax --------------------------------------------------------------------------------------------------------


def test_points_are_read_with_their_actions_and_conditions() -> None:
    assert parse(" before_commit=kill ; after_read=sleep(0.5):nth=3;after_send=raise:p=.25:once; ") == {
        "before_commit": Failpoint("before_commit", "kill"),
        "after_read": Failpoint("after_read", "sleep", "0.5", nth=3),
        "after_send": Failpoint("after_send", "raise", probability=0.25, once=True),
    }


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("before_commit", "this is not NAME=ACTION"),
        ("before_commit kill", "this is not NAME=ACTION"),
        ("before_commit=kill(", "this is not NAME=ACTION"),
        ("before_comit=kill", "there is no point before_comit, only after_batch, "),
        ("before_commit=explode", "there is no action explode, only burn, freeze, "),
        ("before_commit=kill(9)", "kill takes no argument"),
        ("before_commit=sleep", r"sleep needs seconds, as in sleep\(0.5\)"),
        ("before_commit=sleep(long)", "sleep needs seconds"),
        ("before_commit=burn(1e9)", "burn needs seconds"),
        ("before_commit=signal", "signal needs a name"),
        ("before_commit=signal(SEGV)", "signal needs a name"),
        ("before_commit=kill:nth=0", "nth is a whole number from 1, not '0'"),
        ("before_commit=kill:nth=two", "nth is a whole number from 1, not 'two'"),
        ("before_commit=kill:p=2", "p is a probability above 0 and up to 1, not '2'"),
        ("before_commit=kill:p=often", "p is a probability above 0 and up to 1, not 'often'"),
        ("before_commit=kill:when=late", "there is no condition when=late, only "),
        ("before_commit=kill:once=1", "there is no condition once=1, only "),
        ("before_commit=kill:nth", "there is no condition nth, only "),
        ("before_commit=kill;before_commit=raise", "before_commit is armed twice"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, wrong: str) -> None:
    with pytest.raises(FailpointSyntaxError, match=f"^SENTINEL_FAILPOINTS: '.*': {wrong}"):
        parse(text)


def test_once_without_a_directory_is_refused_before_anything_runs() -> None:
    with pytest.raises(FailpointSyntaxError, match="after_read: once needs SENTINEL_FAILPOINTS_DIR"):
        Failpoints(parse("after_read=pass:once"))


# --- the actions -------------------------------------------------------------------------------------------------------


def test_raise_and_memory_raise_what_they_say() -> None:
    armed = Failpoints(parse("after_read=raise;after_decode=memory"))
    with pytest.raises(FailpointError, match="after_read"):
        armed("after_read")
    with pytest.raises(MemoryError):
        armed("after_decode")


def test_nth_acts_at_that_hit_alone() -> None:
    armed = Failpoints(parse("after_read=raise:nth=2"))
    armed("after_read")
    with pytest.raises(FailpointError):
        armed("after_read")
    armed("after_read")


def test_a_forked_process_counts_its_own_hits() -> None:
    armed = Failpoints(parse("after_read=signal(SIGKILL):nth=2"))
    armed("after_read")
    pid = os.fork()
    if not pid:
        armed("after_read")
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_arming_anew_forgets_points_and_hits() -> None:
    armed = Failpoints(parse("after_read=raise:nth=2"))
    armed("after_read")
    armed.arm(parse("after_decode=raise;after_read=raise:nth=2"))
    armed("after_read")
    with pytest.raises(FailpointError):
        armed("after_decode")


def test_a_probability_acts_about_as_often_as_it_says() -> None:
    armed = Failpoints(parse("after_read=raise:p=0.5"))
    found: Counter[bool] = Counter()
    for _ in range(400):
        try:
            armed("after_read")
        except FailpointError:
            found[True] += 1
    assert 120 < found[True] < 280


def test_sleep_sleeps_and_burn_burns() -> None:
    armed = Failpoints(parse("after_read=sleep(0.05);after_decode=burn(0.05)"))
    started_at, used = time.monotonic(), time.process_time()
    armed("after_read")
    assert time.monotonic() - started_at >= 0.05
    armed("after_decode")
    assert time.process_time() - used >= 0.05


def test_freeze_stops_the_process_until_it_is_continued() -> None:
    armed = Failpoints(parse("after_read=freeze"))
    pid = os.fork()
    if not pid:
        armed("after_read")
        os._exit(7)
    assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
    os.kill(pid, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
