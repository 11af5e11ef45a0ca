"""The state of one series of one partition, and its bytes."""

from __future__ import annotations

import struct

import numpy as np

from detection.detectors.base import Floats
from detection.profile import METRICS, Profile
from detection.registry import MEMORY_WIDTH
from detection.window import NewLevel, Run, Track, Window

# Bytes of another version are not read: the state is rebuilt. It also stands for the size of a block.
STATE_VERSION = 1

_HEADER = struct.Struct("<HqqI")  # version, block, offset after its last row, open rows
_TRACK = struct.Struct("<IbdI")  # window length, side of the run (0: none), its fence, its length


class StateVersionError(ValueError):
    """Encoded state is of another version or damaged; rebuild it from the stored events."""


class SeriesState:
    """One series: a track per metric, and the rows of the block of the log that is still open for it.

    A block that has ended is folded when the series is met again: until then nobody asks. `memory` and `statistics`
    of all series live in `fold.PartitionState`, at `slot`.
    """

    __slots__ = ("block", "fresh", "pending", "plain", "slot", "touched", "tracks")

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.block = -1
        self.pending: list[tuple[Floats, Floats]] = []  # (raw, learned), float64[k, len(METRICS)] each
        self.plain = [True] * len(METRICS)  # no pending value of the metric is unknown or anomalous
        self.tracks = [Track() for _ in METRICS]
        self.fresh = False  # statistics are those of the windows
        self.touched = 0  # the offset after its last row

    def open_rows(self) -> tuple[Floats, Floats]:
        """Return raw and learned values of the open block, float64[k, len(METRICS)] each."""
        if len(self.pending) > 1:
            raw = np.concatenate([chunk[0] for chunk in self.pending])
            self.pending = [(raw, np.concatenate([chunk[1] for chunk in self.pending]))]
        return self.pending[0] if self.pending else (np.empty((0, len(METRICS))),) * 2

    def learned(self, metric: int) -> Floats:
        """Return the learned values of one metric (float64[n]), those of the open block included."""
        waiting = self.open_rows()[1][:, metric]
        return np.concatenate((self.tracks[metric].window.values, waiting[~np.isnan(waiting)]))

    def fold(self, profile: Profile) -> list[tuple[int, NewLevel]]:
        """Learn the open block, which has ended; return the metrics that settled at a new level."""
        raw, learned = self.open_rows()
        levels = []
        for metric, track in enumerate(self.tracks):
            if self.plain[metric] and track.run is None:
                track.window.append(raw[:, metric], size=profile.window_size)
                continue
            level = _learn(track, raw[:, metric], learned[:, metric], profile)
            if level is not None:
                levels.append((metric, level))
        self.pending, self.plain, self.fresh = [], [True] * len(METRICS), False
        return levels

    def encode(self, memory: Floats) -> bytes:
        """Return the state as bytes: equal states have equal bytes. `memory`: float64[len(METRICS), MEMORY_WIDTH]."""
        raw, learned = self.open_rows()
        parts = [
            _HEADER.pack(STATE_VERSION, self.block, self.touched, len(raw)),
            raw.tobytes(),
            learned.tobytes(),
            memory.tobytes(),
        ]
        for track in self.tracks:
            run = track.run
            side, fence, followed = (0, 0.0, []) if run is None else (1 if run.above else -1, run.fence, run.values)
            parts.append(_TRACK.pack(len(track.window), side, fence, len(followed)))
            parts.append(track.window.values.tobytes())
            parts.append(np.array(followed, dtype=np.float64).tobytes())
        return b"".join(parts)


def _learn(track: Track, raw: Floats, learned: Floats, profile: Profile) -> NewLevel | None:
    known = ~np.isnan(raw)
    return track.learn(
        raw[known],
        learned[known],
        size=profile.window_size,
        new_level_samples=profile.new_level_samples,
    )


def decode(data: bytes, *, slot: int) -> tuple[SeriesState, Floats]:
    """Return the state and its memory (float64[len(METRICS), MEMORY_WIDTH]). Raises StateVersionError."""
    reader = _Reader(data)
    version, block, touched, rows = reader.unpack(_HEADER)
    if version != STATE_VERSION:
        raise StateVersionError(f"state of version {version}, not {STATE_VERSION}")
    series = SeriesState(slot)
    series.block, series.touched = block, touched
    width = len(METRICS)
    if rows:
        raw, learned = (reader.floats(rows * width).reshape(rows, width) for _ in range(2))
        series.pending, series.plain = [(raw, learned)], (raw == learned).all(axis=0).tolist()
    memory = reader.floats(width * MEMORY_WIDTH).reshape(width, MEMORY_WIDTH)
    series.tracks = [_decode_track(reader) for _ in METRICS]
    reader.finish()
    return series, memory


def _decode_track(reader: _Reader) -> Track:
    length, side, fence, followed = reader.unpack(_TRACK)
    window = Window(reader.floats(length))
    values = reader.floats(followed).tolist()
    return Track(window, Run(above=side > 0, fence=fence, values=values) if side else None)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        return layout.unpack(self._take(layout.size))

    def floats(self, count: int) -> Floats:
        return np.frombuffer(self._take(8 * count), dtype=np.float64).copy()

    def finish(self) -> None:
        if self._at != len(self._data):
            raise StateVersionError("state has bytes left over")

    def _take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise StateVersionError("state is cut short")
        self._at += size
        return piece
