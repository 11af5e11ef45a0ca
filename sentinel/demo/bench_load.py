"""The load of the benchmark: many series of 1.3 kB events, preloaded or at a steady rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from sentinel.demo.catalogue import SOURCES, Source
from sentinel.demo.generator import Workload, generate
from sentinel.demo.render import WireEvent
from sentinel.demo.sink import SinkError

SERIES_PER_SOURCE = 8
MAX_TEXT_CHARACTERS = 330
PART_EVENTS = 20_000
PER_SECOND = 200.0


def bench_sources() -> tuple[Source, ...]:
    """Return 40 series: the demo's applications, several times over, all with the load of a chat."""
    steady = SOURCES[0].load
    return tuple(
        replace(source, service=f"{source.service}-{number}", load=steady, share=1.0)
        for number in range(SERIES_PER_SOURCE)
        for source in SOURCES
    )


def bench_events(count: int, *, seed: int, end_us: int) -> Iterator[WireEvent]:
    """Yield `count` events whose times end at `end_us`, made part by part."""
    seconds = round(PART_EVENTS / PER_SECOND)
    made, part = 0, 0
    while made < count:
        work = Workload(
            seed=seed,
            seconds=seconds,
            per_second=PER_SECOND,
            sources=bench_sources(),
            part=part,
            max_text_characters=MAX_TEXT_CHARACTERS,
        )
        # All parts share the last stretch of time: what counts is the number of events, not their age.
        for event in generate(work, start_us=end_us - seconds * 1_000_000).events():
            if made == count:
                return
            yield event
            made += 1
        part += 1


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was put into the topic."""

    events: int
    bytes: int
    seconds: float


class Loader:
    """Writes events to the partitions of one topic; a series stays in one partition."""

    def __init__(
        self, brokers: Sequence[str], topic: str, *, partitions: int, security: Mapping[str, Any], linger_ms: int
    ) -> None:
        self._topic = topic
        self._partition_of = {source.key: index % partitions for index, source in enumerate(bench_sources())}
        self._producer: Any = KafkaProducer(
            bootstrap_servers=list(brokers),
            client_id="sentinel-bench",
            acks="all",
            enable_idempotence=True,
            compression_type="lz4",
            linger_ms=linger_ms,
            batch_size=256 * 1024,
            metrics_enabled=False,
            **{name: value for name, value in security.items() if value is not None},
        )

    def preload(self, events: Iterator[WireEvent], *, advance: Callable[[int], None]) -> Loaded:
        """Write everything as fast as possible and return once it is durable; raise `SinkError`."""
        started_at = time.monotonic()
        count = size = 0
        for event in events:
            self._send(event)
            count += 1
            size += len(event.value)
            if count % 1_000 == 0:
                advance(1_000)
        self._flush()
        return Loaded(count, size, time.monotonic() - started_at)

    def steady(self, events: Iterator[WireEvent], *, per_second: int, seconds: float) -> list[tuple[int, int, int]]:
        """Write at a steady rate; return (partition, offset, log time in milliseconds) of every record."""
        futures: list[Any] = []
        started_at = time.monotonic()
        while (elapsed := time.monotonic() - started_at) < seconds:
            due = max(0, int(elapsed * per_second) - len(futures))
            futures += [self._send(event) for event in islice(events, due)]
            time.sleep(0.005)
        self._flush()
        found = [future.get(timeout=30) for future in futures]
        return [(item.partition, item.offset, item.timestamp) for item in found]

    def _send(self, event: WireEvent) -> Any:
        partition = self._partition_of[event.key]
        return self._producer.send(self._topic, key=event.key, value=event.value, partition=partition)

    def _flush(self) -> None:
        try:
            self._producer.flush(timeout=120)
        except KafkaError as error:
            raise SinkError(f"Kafka did not confirm the events: {error}") from error

    def close(self) -> None:
        self._producer.close(timeout=10)
