"""A steady load through Kafka in the background, with producer duplicates."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from itertools import chain, islice

from sentinel.demo.bench_load import bench_events
from sentinel.demo.render import WireEvent
from sentinel.demo.sink import KafkaSink, SinkError

DUPLICATE_SHARE = 0.005
# So far back a duplicate may lie: across many batches.
REMEMBERED_EVENTS = 5_000
MAX_EVENTS = 400_000
# Made beforehand: to make them takes time from what is tested. A slow machine needs more, made as they are sent.
MADE_EVENTS = 75_000


class Load:
    """Sends from a thread until `stop`; then `distinct` events are durable, `duplicates` of them sent twice."""

    def __init__(self, *, per_second: float, seed: int) -> None:
        self.distinct = self.duplicates = 0
        self._per_second = per_second
        self._random = random.Random(seed)
        events = bench_events(MAX_EVENTS, seed=seed, end_us=time.time_ns() // 1_000)
        self._events = chain(list(islice(events, MADE_EVENTS)), events)
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self, sink: KafkaSink) -> None:
        self._sink = sink
        self._thread.start()

    def stop(self) -> None:
        """Stop sending; raise what went wrong."""
        self._stop.set()
        self._thread.join(timeout=60)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._send()
            self._sink.flush()
        except SinkError as error:
            self._failure = error
        finally:
            self._sink.close()

    def _send(self) -> None:
        started_at = time.monotonic()
        for sent, event in enumerate(self._with_duplicates(), start=1):
            self._sink.send(event.key, event.value)
            if sent % 20 == 0 and self._stop.wait(max(0.0, started_at + sent / self._per_second - time.monotonic())):
                return

    def _with_duplicates(self) -> Iterator[WireEvent]:
        recent: deque[WireEvent] = deque(maxlen=REMEMBERED_EVENTS)
        for event in self._events:
            self.distinct += 1
            recent.append(event)
            yield event
            if self._random.random() < DUPLICATE_SHARE:
                self.duplicates += 1
                yield self._random.choice(recent)
