from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sentinel.child import Command, wait_until
from sentinel.runtime import State
from sentinel.services.base import Runnable, ServiceUnavailable
from sentinel.unit import FIRST_PAUSE_SECONDS, STEADY_SECONDS, Crashed, Ready, Unit


class Script(Runnable):
    """A shell script that is ready when the file `ready` exists."""

    name = "script"
    start_timeout_seconds = 100.0

    def __init__(self, directory: Path, script: str) -> None:
        self.directory = directory
        self.script = script
        self.unavailable = False

    def prepare(self) -> None:
        if self.unavailable:
            raise ServiceUnavailable("gone", hint="bring it back")

    def command(self) -> Command:
        return Command(argv=("sh", "-c", self.script))

    def is_ready(self) -> bool:
        return (self.directory / "ready").exists()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def unit(tmp_path: Path, clock: Clock) -> Iterator[Unit]:
    unit = Unit(Script(tmp_path, "sleep 1000"), log_directory=tmp_path, clock=clock)
    unit.launch()
    yield unit
    unit.ask_to_stop()
    unit.wait(at_once=True)


def kill(unit: Unit) -> None:
    pid = unit.record().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def crash(unit: Unit) -> Crashed:
    kill(unit)
    changes: list[Crashed] = []

    def crashed() -> bool:
        change = unit.poll()
        if isinstance(change, Crashed):
            changes.append(change)
        return bool(changes)

    assert wait_until(crashed, timeout_seconds=10)
    return changes[0]


def test_a_unit_is_ready_when_its_process_says_so(unit: Unit, tmp_path: Path, clock: Clock) -> None:
    assert unit.poll() is None
    (tmp_path / "ready").touch()
    clock.now += 1.5
    assert unit.poll() == Ready(1.5)
    assert unit.poll() is None
    assert unit.state is State.READY


def test_a_killed_process_is_reported_and_started_again(unit: Unit, clock: Clock) -> None:
    first = unit.record().pid
    assert crash(unit) == Crashed("killed by SIGKILL", FIRST_PAUSE_SECONDS)
    assert (unit.state, unit.record().pid) == (State.CRASHED, None)
    assert unit.poll() is None
    clock.now += FIRST_PAUSE_SECONDS
    assert unit.poll() is None
    assert unit.state is State.STARTING
    assert unit.record().pid not in {None, first}
    assert unit.restarts == 1


def test_the_reason_of_a_crash_is_the_last_line_of_the_log(tmp_path: Path) -> None:
    unit = Unit(Script(tmp_path, "echo before; echo 'no such table'; exit 4"), log_directory=tmp_path)
    unit.launch()
    changes = []
    assert wait_until(lambda: changes.append(unit.poll()) or changes[-1] is not None, timeout_seconds=10)  # type: ignore[func-returns-value]
    assert changes[-1] == Crashed("exit code 4: no such table", FIRST_PAUSE_SECONDS)


def test_pauses_grow_up_to_half_a_minute(unit: Unit, clock: Clock) -> None:
    pauses = []
    for _ in range(11):
        pauses.append(crash(unit).pause_seconds)
        clock.now += pauses[-1]
        unit.poll()
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30])


def test_who_has_worked_for_a_while_starts_over_with_the_shortest_pause(
    unit: Unit, clock: Clock, tmp_path: Path
) -> None:
    (tmp_path / "ready").touch()
    for expected in (FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS):
        assert crash(unit).pause_seconds == expected
        clock.now += expected
        unit.poll()
        unit.poll()
    clock.now += STEADY_SECONDS + 1
    assert crash(unit).pause_seconds == FIRST_PAUSE_SECONDS


def test_a_process_that_never_gets_ready_counts_as_crashed(unit: Unit, clock: Clock) -> None:
    clock.now += 101
    assert unit.poll() == Crashed("not ready after 100 s", FIRST_PAUSE_SECONDS)


def test_a_process_that_cannot_be_prepared_any_more_is_tried_again_later(unit: Unit, clock: Clock) -> None:
    crash(unit)
    assert isinstance(unit.runnable, Script)
    unit.runnable.unavailable = True
    clock.now += FIRST_PAUSE_SECONDS
    assert unit.poll() == Crashed("gone (bring it back)", 2 * FIRST_PAUSE_SECONDS)
    unit.runnable.unavailable = False
    clock.now += 2 * FIRST_PAUSE_SECONDS
    unit.poll()
    assert unit.state is State.STARTING


def test_a_stopped_unit_is_not_started_again(unit: Unit, clock: Clock) -> None:
    unit.ask_to_stop()
    assert unit.wait(at_once=False)
    clock.now += 1000
    time.sleep(0.01)
    assert unit.poll() is None
    assert unit.state is State.STOPPED
