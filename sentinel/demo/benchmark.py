"""The throughput of the whole path: Kafka to committed rows, with what it costs each process.

Throughput: a topic that nobody reads yet is filled, then given to a project; from the first dispatched range until the
last cursor stands at the end of its partition is the time. Latency: at a steady rate, from a record's own Kafka
timestamp until its partition's committed cursor has passed it, as seen by polling.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from django.db import connection
from django.db.models import Sum

from ingestion.log.configured import create_topics
from ingestion.models import Batch, PartitionCursor, Project, Topic
from sentinel.demo.bench_load import Loader, bench_events
from sentinel.demo.cpu import CpuMeter

POLL_SECONDS = 0.01
STALL_SECONDS = 60.0
PARTITIONS = 4


class BenchError(Exception):
    """The benchmark cannot say anything; the message says why."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """`seconds` is from first dispatch to drained; CPU seconds are per 100,000 events."""

    events: int
    bytes_per_event: float
    preload_seconds: float
    seconds: float
    events_per_second: float
    stored: int
    anomalies: int
    batches: int
    cpu_seconds_per_100k: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from Kafka timestamp to committed row at `per_second`."""

    events: int
    per_second: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def measure_throughput(
    loader: Callable[[str], Loader],
    *,
    events: int,
    seed: int,
    processes: Sequence[tuple[str, int]],
    advance: Callable[[int], None],
) -> tuple[str, Throughput]:
    """Return the topic that was drained, and the figures."""
    topic = _new_topic()
    load = loader(topic)
    now_us = time.time_ns() // 1_000
    try:
        filled = load.preload(bench_events(events, seed=seed, end_us=now_us), advance=advance)
    finally:
        load.close()
    meter = CpuMeter.start(processes)
    _give_to_project(topic)
    started, ended = _drain(topic, events)
    cpu = {name: round(used * 100_000 / events, 3) for name, used in meter.seconds().items()}
    totals = Batch.objects.filter(cursor__topic=topic).aggregate(stored=Sum("stored"), anomalies=Sum("anomalies"))
    return topic, Throughput(
        events=events,
        bytes_per_event=round(filled.bytes / filled.events, 1),
        preload_seconds=round(filled.seconds, 2),
        seconds=round(ended - started, 3),
        events_per_second=round(events / (ended - started), 1),
        stored=totals["stored"] or 0,
        anomalies=totals["anomalies"] or 0,
        batches=Batch.objects.filter(cursor__topic=topic).count(),
        cpu_seconds_per_100k=cpu,
    )


def measure_latency(
    loader: Callable[[str], Loader], topic: str, *, per_second: int, seconds: float, seed: int
) -> Latency:
    """Return how long records of `topic`, which is being ingested, take at a steady rate."""
    now_us = time.time_ns() // 1_000
    events = list(bench_events(int(per_second * seconds) + per_second, seed=seed + 1, end_us=now_us))
    load = loader(topic)
    watcher = _CommitWatcher(topic)
    try:
        with watcher:
            records = load.steady(iter(events), per_second=per_second, seconds=seconds)
            watcher.wait_for(records)
    finally:
        load.close()
    waits = watcher.latencies_ms(records)
    p50, p99 = np.quantile(waits, [0.5, 0.99])
    return Latency(len(records), per_second, round(float(p50), 1), round(float(p99), 1), round(float(waits.max()), 1))


def _new_topic() -> str:
    topic = f"bench.{uuid.uuid4().hex[:12]}"
    create_topics([topic])
    return topic


def _give_to_project(topic: str) -> None:
    project, _ = Project.objects.get_or_create(slug="bench", defaults={"name": "Benchmark"})
    Topic.objects.create(name=topic, project=project)


def _drain(topic: str, events: int) -> tuple[float, float]:
    """Return when the first range was dispatched and when the last offset was committed (seconds since the epoch)."""
    started: float | None = None
    done, moved_at = 0, time.monotonic()
    while done < events:
        rows = PartitionCursor.objects.filter(topic=topic).values_list("next_offset", "dispatched_at", "halted_reason")
        if halted := [reason for _, _, reason in rows if reason]:
            raise BenchError(f"a partition halted: {halted[0]}")
        dispatched = [at.timestamp() for _, at, _ in rows if at is not None]
        if dispatched and started is None:
            started = min(dispatched)
        now_done = sum(offset for offset, _, _ in rows)
        if now_done > done:
            done, moved_at = now_done, time.monotonic()
        if time.monotonic() - moved_at > STALL_SECONDS:
            raise BenchError(f"no progress for {STALL_SECONDS:g} s at {done:,} of {events:,} events")
        time.sleep(POLL_SECONDS)
    assert started is not None
    return started, time.time()


class _CommitWatcher:
    """Polls the committed cursors of a topic from a thread of its own while the `with` block runs."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._seen: dict[int, list[tuple[float, int]]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _CommitWatcher:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            while not self._stop.is_set():
                rows = PartitionCursor.objects.filter(topic=self._topic).values_list("partition", "next_offset")
                at_ms = 0.0
                for partition, offset in rows:
                    at_ms = at_ms or time.time() * 1_000
                    history = self._seen.setdefault(partition, [])
                    if not history or offset > history[-1][1]:
                        history.append((at_ms, offset))
                self._stop.wait(POLL_SECONDS)
        finally:
            connection.close()

    def wait_for(self, records: Sequence[tuple[int, int, int]]) -> None:
        """Return once all records are committed; raise `BenchError` where they are not in time."""
        last: dict[int, int] = {}
        for partition, offset, _ in records:
            last[partition] = max(offset, last.get(partition, -1))
        deadline = time.monotonic() + STALL_SECONDS
        while not all(self._seen.get(p, [(0.0, 0)])[-1][1] > offset for p, offset in last.items()):
            if time.monotonic() > deadline:
                raise BenchError(f"records were not committed within {STALL_SECONDS:g} s")
            time.sleep(POLL_SECONDS)

    def latencies_ms(self, records: Sequence[tuple[int, int, int]]) -> np.typing.NDArray[np.float64]:
        """Return for each record when its partition's cursor was first seen beyond it, less its log time."""
        partitions, offsets, log_ms = np.array(records, dtype=np.int64).T
        waits = np.empty(len(records))
        for partition, history in self._seen.items():
            seen_ms, passed = np.array(history, dtype=np.float64).T
            here = partitions == partition
            first = np.searchsorted(passed, offsets[here], side="right")
            waits[here] = seen_ms[first] - log_ms[here]
        return waits
