"""The load of the demo: history as fast as possible, then traffic with faults at its pace, from a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sentinel.demo.catalogue import SOURCES
from sentinel.demo.faults import plan
from sentinel.demo.generator import Stream, Workload, generate
from sentinel.demo.match import Matcher
from sentinel.demo.pace import Pace
from sentinel.demo.sink import Sink, SinkError

HISTORY_SECONDS = 1_800
FAULTY_SECONDS = 720
GAP_SECONDS = 30.0
# A live demo has shorter faults, one after the other: nobody watches for an hour.
LIVE_PART_SECONDS = 300
LIVE_DURATION_FACTOR = 0.4
LIVE_GAP_SECONDS = 15.0
LIVE_FIRST_FAULT_SECONDS = 5.0
FLUSH_EVERY_SECONDS = 0.1
MIN_WAIT_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the load; `pace` None: as fast as possible."""

    stream: Stream
    pace: Pace | None


def once(*, seed: int, per_second: float, speed: float | None, now_us: int) -> Iterator[Segment]:
    """Yield half an hour of history and twelve minutes with every kind of fault, all before now.

    The stretch with faults is sent at `speed` (None: at once).
    """
    seconds = HISTORY_SECONDS + FAULTY_SECONDS
    faults = plan(SOURCES, start_seconds=HISTORY_SECONDS, end_seconds=seconds, gap_seconds=GAP_SECONDS)
    work = Workload(seed=seed, seconds=seconds, per_second=per_second, faults=tuple(faults))
    start_us = now_us - seconds * 1_000_000
    pace = None if speed is None else Pace(speed, start_us + HISTORY_SECONDS * 1_000_000, time.monotonic())
    yield Segment(generate(work, start_us=start_us), pace)


def live(*, seed: int, per_second: float, speed: float | None, now_us: int) -> Iterator[Segment]:
    """Yield half an hour of history, then traffic that happens now, for ever; `speed` hurries the faults along."""
    history = Workload(seed=seed, seconds=HISTORY_SECONDS, per_second=per_second)
    yield Segment(generate(history, start_us=now_us - HISTORY_SECONDS * 1_000_000), None)
    factor = 1.0 if speed is None else speed
    pace = Pace(1.0, now_us, time.monotonic())
    part, planned = 1, 0
    while True:
        faults = plan(
            SOURCES,
            start_seconds=LIVE_FIRST_FAULT_SECONDS,
            end_seconds=LIVE_PART_SECONDS,
            gap_seconds=LIVE_GAP_SECONDS,
            number_from=planned,
            duration_factor=LIVE_DURATION_FACTOR,
        )
        work = Workload(
            seed=seed,
            seconds=LIVE_PART_SECONDS,
            per_second=per_second,
            faults=tuple(faults),
            part=part,
            speed=factor,
        )
        start_us = now_us + round((part - 1) * LIVE_PART_SECONDS * 1e6 / factor)
        yield Segment(generate(work, start_us=start_us), pace)
        part, planned = part + 1, planned + len(faults)


class Load:
    """Sends segments until they end or `stop` is called; `sent`, `failure` and `is_finished` say how far it is.

    `sent_until_us` is the time of the last event that was sent; faults after it are only planned.
    """

    def __init__(self, segments: Iterator[Segment], sink: Sink, matcher: Matcher) -> None:
        self.sent = 0
        self.sent_until_us = 0
        self.failure: Exception | None = None
        self.streams: Sequence[Stream] = ()
        self._segments = segments
        self._sink = sink
        self._matcher = matcher
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    @property
    def is_finished(self) -> bool:
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            for segment in self._segments:
                self.streams = (*self.streams, segment.stream)
                self._matcher.add(segment.stream.faults())
                self._send(segment)
                if self._stop.is_set():
                    break
            self._sink.flush()
        except SinkError as error:
            self.failure = error

    def _send(self, segment: Segment) -> None:
        flushed_at = time.monotonic()
        for event in segment.stream.events():
            wait = segment.pace.seconds_until(event.timestamp_us) if segment.pace else 0.0
            if wait > MIN_WAIT_SECONDS:
                if time.monotonic() - flushed_at > FLUSH_EVERY_SECONDS:
                    self._sink.flush()
                    flushed_at = time.monotonic()
                self._stop.wait(wait)
            if self._stop.is_set():
                return
            self._sink.send(event.key, event.value)
            self.sent += 1
            self.sent_until_us = event.timestamp_us
        self._sink.flush()
