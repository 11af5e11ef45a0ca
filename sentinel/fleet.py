"""The units of one installation: polled together, reported line by line, stopped in reverse order."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sentinel.runtime import ProcessRecord, State
from sentinel.services.base import Runnable
from sentinel.unit import Crashed, Ready, Unit

ROTATE_SECONDS = 5.0


class Fleet:
    """Units in the order of their start. `report(name, text)` is called for every change that people should see."""

    def __init__(self, *, report: Callable[[str, str], None]) -> None:
        self._report = report
        self._units: list[Unit] = []
        self._rotated_at = 0.0

    def launch(self, runnable: Runnable, *, log_directory: Path) -> None:
        """Start what has been prepared, and look after it from now on."""
        unit = Unit(runnable, log_directory=log_directory)
        unit.launch()
        self._units.append(unit)

    def poll(self) -> list[tuple[Unit, Crashed]]:
        """Look after every unit once, report what changed, and return those that crashed."""
        crashes = []
        for unit in self._units:
            change = unit.poll()
            if isinstance(change, Ready):
                self._report(unit.name, _ready_text(unit, change))
            elif isinstance(change, Crashed):
                self._report(unit.name, f"ended ({change.reason}); starting again in {change.pause_seconds:g} s")
                crashes.append((unit, change))
        self._rotate_logs()
        return crashes

    def _rotate_logs(self) -> None:
        now = time.monotonic()
        if now - self._rotated_at >= ROTATE_SECONDS:
            self._rotated_at = now
            for unit in self._units:
                unit.rotate_log()

    @property
    def unready(self) -> list[str]:
        """Return the names of the units that are not ready."""
        return [unit.name for unit in self._units if unit.state is not State.READY]

    def records(self) -> tuple[ProcessRecord, ...]:
        """Return what `sentinel status` shows of each unit."""
        return tuple(unit.record() for unit in self._units)

    def stop(self, *, at_once: Callable[[], bool]) -> list[str]:
        """Stop all units, the last one first, each after the one before has been asked; return who had to be killed.

        `at_once` is asked before each wait: True ends the patience.
        """
        units, self._units = self._units[::-1], []
        for unit in units:
            unit.ask_to_stop()
        return [unit.name for unit in units if not unit.wait(at_once=at_once())]


def _ready_text(unit: Unit, change: Ready) -> str:
    again = f", restart {unit.restarts}" if unit.restarts else ""
    where = f"  {unit.runnable.address}" if unit.runnable.address else ""
    return f"ready in {change.seconds:.1f} s{again}{where}"
