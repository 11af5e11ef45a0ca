"""The window of one metric of one series, and what follows a new level."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np

from detection.detectors.base import Floats

_SMALLEST_BUFFER = 32
# Sorting anew is faster than moving more values than that, leaving and arriving, one by one.
_MOVES = 48


class Window:
    """The last `size` learned values, oldest first, in one piece of memory (float64)."""

    __slots__ = ("_buffer", "_end", "_ordered", "_start")

    def __init__(self, values: Floats | None = None) -> None:
        self._buffer: Floats = np.empty(0) if values is None else values
        self._start, self._end = 0, len(self._buffer)
        self._ordered: array[float] | None = None

    def __len__(self) -> int:
        return self._end - self._start

    @property
    def values(self) -> Floats:
        """The values; valid until the next `append`."""
        return self._buffer[self._start : self._end]

    @property
    def ordered(self) -> array[float]:
        """The values in ascending order; valid until the next `append`."""
        if self._ordered is None:
            self._ordered = self.sort()
        return self._ordered

    def sort(self) -> array[float]:
        """Return the values in ascending order, for once: `ordered` keeps them up to date from then on."""
        return array("d", np.sort(self.values).tobytes())

    def append(self, values: Floats, *, size: int) -> None:
        """Add values at the new end; let the oldest go beyond `size`."""
        count = len(values)
        if count > size:
            values, count = values[-size:], size
        leaving = max(0, self._end - self._start + count - size)
        if self._ordered is not None:
            self._reorder(self._ordered, leaving, values)
        self._start += leaving
        if self._end + count > len(self._buffer):
            self._make_room(count, size)
        self._buffer[self._end : self._end + count] = values
        self._end += count

    def _reorder(self, ordered: array[float], leaving: int, arriving: Floats) -> None:
        if leaving + len(arriving) > _MOVES:
            self._ordered = None
            return
        for value in self._buffer[self._start : self._start + leaving].tolist():
            del ordered[bisect_left(ordered, value)]
        for value in arriving.tolist():
            insort(ordered, value)

    def _make_room(self, count: int, size: int) -> None:
        # A quarter of the window to spare: it moves once in so many values.
        kept = self.values
        capacity = max(_SMALLEST_BUFFER, min(2 * (len(kept) + count), size + size // 4), len(kept) + count)
        buffer = np.empty(capacity)
        buffer[: len(kept)] = kept
        self._buffer, self._start, self._end = buffer, 0, len(kept)


@dataclass(slots=True)
class Run:
    """Consecutive values beyond a fence, which is frozen when the run begins."""

    above: bool
    fence: float
    values: list[float]

    def continues(self, value: float) -> bool:
        """Whether `value` lies beyond the fence on the run's side."""
        return value > self.fence if self.above else value < self.fence


@dataclass(frozen=True, slots=True)
class NewLevel:
    """A run became the baseline: the window before and after (float64)."""

    before: Floats
    after: Floats


class Track:
    """One metric of one series: its window, and the run that may become its next level."""

    __slots__ = ("run", "window")

    def __init__(self, window: Window | None = None, run: Run | None = None) -> None:
        self.window = window or Window()
        self.run = run

    def learn(self, raw: Floats, learned: Floats, *, size: int, new_level_samples: int) -> NewLevel | None:
        """Learn values in the order of the log (float64[n], none unknown).

        `learned` is `raw`, but for anomalous values, which stand at their fence. After `new_level_samples` values in a
        row beyond the fence that was the first one's, their raw values become the window; the rest of this call is
        learned as it is, since the fences it was cut to are those of the old level.
        """
        start = 0 if self.run else _first_difference(raw, learned)
        pairs = zip(raw[start:].tolist(), learned[start:].tolist(), strict=True)
        for position, (value, kept) in enumerate(pairs, start=start + 1):
            self._follow(value, kept)
            if self.run is not None and len(self.run.values) >= new_level_samples:
                return self._adopt(raw[position:], size=size)
        self.window.append(learned, size=size)
        return None

    def _follow(self, value: float, kept: float) -> None:
        if self.run is not None and self.run.continues(value):
            self.run.values.append(value)
        elif value != kept:
            self.run = Run(above=value > kept, fence=kept, values=[value])
        else:
            self.run = None

    def _adopt(self, rest: Floats, *, size: int) -> NewLevel | None:
        if self.run is None:
            return None
        level = NewLevel(before=self.window.values.copy(), after=np.array(self.run.values[-size:]))
        self.window, self.run = Window(level.after.copy()), None
        self.window.append(rest, size=size)
        return level


def _first_difference(raw: Floats, learned: Floats) -> int:
    """Return the position of the first anomalous value, or the length where there is none."""
    different = raw != learned
    return int(different.argmax()) if different.any() else len(raw)
