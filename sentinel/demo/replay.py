"""Send a recording again: survey the file, decide the shift in time, send at a pace.

1. Survey: read the whole file once; digest, number of rows, first and last time, rows that cannot be sent.
2. Shift: by default the last row happens now (at a limited speed: when it will be sent).
3. Send: every good row with the id uuid5(digest, row), so that whatever is sent twice is stored once.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from sentinel.demo.pace import Pace
from sentinel.demo.progress import Advance
from sentinel.demo.recording import BadRow, Recording, Row
from sentinel.demo.render import timestamps
from sentinel.demo.sink import Sink

FLUSH_EVERY_ROWS = 5_000
FLUSH_EVERY_SECONDS = 0.5
MIN_WAIT_SECONDS = 0.005
MASK_64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Survey:
    """What a file holds; `first_us` and `last_us` are the earliest and latest recorded times."""

    digest: str
    rows: int
    first_us: int
    last_us: int
    bad_rows: Sequence[BadRow]

    @property
    def seconds(self) -> float:
        return (self.last_us - self.first_us) / 1e6


@dataclass(frozen=True, slots=True)
class SentRow:
    """Identity of a sent event: what must be found in the events table, once."""

    event_id: uuid.UUID
    timestamp_us: int


@dataclass(slots=True)
class Sent:
    """What was handed over so far."""

    rows: list[SentRow] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def distinct(self) -> Sequence[SentRow]:
        """What must be stored: a file may hold the same event twice."""
        return list(dict.fromkeys(self.rows))


def checksum(ids: Iterator[uuid.UUID] | Sequence[uuid.UUID]) -> int:
    """Return the sum of the upper halves of the ids modulo 2^64: independent of order, sensitive to every repeat."""
    return sum(event_id.int >> 64 for event_id in ids) & MASK_64


def survey(recording: Recording) -> Survey:
    """Read the whole file; raises `RecordingError` where it cannot be read at all."""
    digest = recording.sha256()
    times: list[int] = []
    bad_rows: list[BadRow] = []
    for row in recording.rows(digest):
        if isinstance(row, BadRow):
            bad_rows.append(row)
        else:
            times.append(row.timestamp_us)
    return Survey(digest, len(times), min(times, default=0), max(times, default=0), bad_rows)


def shift_us(found: Survey, *, now_us: int, speed: float | None) -> int:
    """Return what to add to each time so that the last row happens when it is sent."""
    lasts_us = 0 if speed is None else round((found.last_us - found.first_us) / speed)
    return now_us + lasts_us - found.last_us


def send(
    recording: Recording,
    found: Survey,
    sink: Sink,
    *,
    shift_us: int,
    speed: float | None,
    skip_rows: int = 0,
    advance: Advance,
    on_durable: Callable[[int], None] = lambda rows: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Sent:
    """Send every good row after the first `skip_rows`; `on_durable` is told how many rows of the file are safe.

    It is called before the first row too, so that an interrupted replay is known from its beginning. Raises `SinkError`. Rows before `skip_rows` count as sent: an earlier run was told that they are durable.
    """
    sent = Sent()
    encode = msgspec.json.Encoder().encode
    pace: Pace | None = None
    flushed_at = time.monotonic()
    on_durable(skip_rows)
    for row in (row for row in recording.rows(found.digest) if isinstance(row, Row)):
        at_us = row.timestamp_us + shift_us
        sent.rows.append(SentRow(row.event_id, at_us))
        if sent.count <= skip_rows:
            continue
        pace = pace or Pace(speed, row.timestamp_us, time.monotonic())
        wait = pace.seconds_until(row.timestamp_us)
        if wait > MIN_WAIT_SECONDS:
            if time.monotonic() - flushed_at > FLUSH_EVERY_SECONDS:
                sink.flush()
                on_durable(sent.count - 1)
                flushed_at = time.monotonic()
            sleep(wait)
        row.body["timestamp"] = timestamps(np.array([at_us]))[0]
        sink.send(row.key, encode(row.body))
        advance(1)
        if sent.count % FLUSH_EVERY_ROWS == 0:
            sink.flush()
            on_durable(sent.count)
    sink.flush()
    on_durable(sent.count)
    return sent
