"""When to send what was recorded at a given time: at real speed, faster, or at once (pure but for the clock)."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass


def speed(text: str) -> float | None:
    """Read `--speed`: a factor above zero, or "max" for no waiting (None)."""
    if text == "max":
        return None
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number above 0 nor max")
    return factor


@dataclass(frozen=True, slots=True)
class Pace:
    """Maps stream time to the clock: `speed` seconds of the stream pass in one of ours; None is as fast as possible."""

    speed: float | None
    first_us: int
    started_at: float
    clock: Callable[[], float] = time.monotonic

    def seconds_until(self, timestamp_us: int) -> float:
        """Return how long to wait before sending, zero or less if it is due."""
        if self.speed is None:
            return 0.0
        due = self.started_at + (timestamp_us - self.first_us) / 1e6 / self.speed
        return due - self.clock()
