"""A load through Kafka in the background, with producer duplicates, invalid and late records mixed in."""

from __future__ import annotations

import enum
import logging
import random
import threading
import time
from array import array
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, NamedTuple

from kafka import KafkaProducer
from kafka.errors import KafkaError

from sentinel.demo.bench_load import bench_events
from sentinel.demo.render import WireEvent
from tests.faults import invalid
from tests.faults.reference import Reference

logging.getLogger("kafka").setLevel(logging.CRITICAL)

# So far back a duplicate may lie: across many batches.
REMEMBERED_EVENTS = 5_000
MAX_EVENTS = 20_000_000
# Made beforehand: to make them takes time from what is tested. The others are made as they are sent.
MADE_EVENTS = 20_000
# An outage of the broker may last; what was not acknowledged would have to be sent again.
PATIENCE_SECONDS = 600
# After an outage the load goes on at its pace instead of catching up.
MAX_BEHIND_SECONDS = 1.0


class Kind(enum.StrEnum):
    """What a record is to the ingestion."""

    EVENT = "event"
    DUPLICATE = "duplicate"
    INVALID = "invalid"
    LATE = "late"
    POISON = "poison"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How often, per event, something else is sent as well; `detailed` is the share of events that carry more."""

    duplicates: float = 0.001
    invalid: float = 0.01
    late: float = 0.0005
    detailed: float = 0.01


class Sending(NamedTuple):
    """A record to send."""

    kind: Kind
    key: bytes
    value: bytes | None
    log_time_ms: int | None = None


class Load:
    """Sends at a steady pace from a thread until `stop`, or as fast as it goes with `per_second=None`.

    A series stays in one partition; with `scatter` every record, duplicates too, goes to one at random. What the broker
    has acknowledged counts, in `acknowledged` and, by kind, in `places`.
    """

    def __init__(
        self,
        *,
        brokers: str,
        topic: str,
        partitions: int,
        seed: int,
        per_second: float | None = 1_500,
        events: int = MAX_EVENTS,
        shares: Shares | None = None,
        scatter: bool = False,
        compression: str | None = "lz4",
        max_record_bytes: int = 2 * 1024 * 1024,
    ) -> None:
        self.partitions = partitions
        self.acknowledged = 0
        self.sent: Counter[Kind] = Counter()
        self.places: dict[Kind, list[tuple[int, int]]] = defaultdict(list)  # (partition, offset); not of plain events
        self._offsets: dict[int, array[int]] = defaultdict(lambda: array("q"))
        self._brokers, self._topic, self._compression = brokers, topic, compression
        self._max_record_bytes = max_record_bytes
        self._per_second, self._shares, self._scatter = per_second, shares or Shares(), scatter
        self._random = random.Random(seed)
        self._events: Iterator[WireEvent] = bench_events(MAX_EVENTS, seed=seed, end_us=time.time_ns() // 1_000)
        self._count = events
        self._partition_of: dict[bytes, int] = {}
        self._failures: list[str] = []
        self._lock = threading.Lock()
        self._producer: Any = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    # --- running -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start sending; the broker must be there."""
        self._events = chain(list(islice(self._events, min(self._count, MADE_EVENTS))), self._events)
        self._producer = KafkaProducer(
            bootstrap_servers=self._brokers,
            client_id="faults",
            acks="all",
            enable_idempotence=True,
            compression_type=self._compression,
            linger_ms=5,
            batch_size=256 * 1024,
            max_request_size=self._max_record_bytes,
            request_timeout_ms=10_000,
            delivery_timeout_ms=PATIENCE_SECONDS * 1_000,
            max_block_ms=PATIENCE_SECONDS * 1_000,
            metadata_max_age_ms=5_000,
            metrics_enabled=False,
        )
        self._thread.start()

    def wait(self, *, timeout_seconds: float = 300) -> None:
        """Return once a load of a fixed number of events has sent them all."""
        self._thread.join(timeout_seconds)
        assert not self._thread.is_alive(), "the load is too slow"

    def stop(self) -> None:
        """Stop sending and wait until the broker has everything; raise AssertionError where it refused something."""
        self._stop.set()
        if self._producer is None:
            return
        self._thread.join(timeout=PATIENCE_SECONDS)
        self._producer.flush(timeout=PATIENCE_SECONDS)
        self._producer.close(timeout=10)
        self._producer = None
        assert not self._failures, self._failures[:3]
        assert self.acknowledged == sum(self.sent.values())

    def abandon(self) -> None:
        """Stop sending without waiting for the broker: the test is over."""
        self._stop.set()
        if self._producer is not None:
            with suppress(KafkaError):
                self._producer.close(timeout=1)
            self._producer = None

    def send(
        self,
        value: bytes | None,
        *,
        kind: Kind = Kind.EVENT,
        partition: int | None = None,
        log_time_ms: int | None = None,
    ) -> None:
        """Send one more record from the test's own thread; `log_time_ms` is now where it is not given."""
        place = self._random.randrange(self.partitions) if partition is None else partition
        self._send(Sending(kind, b"", value, log_time_ms), place)

    def events_to_come(self, count: int) -> list[WireEvent]:
        """Return events that the load will not send itself: to be spoiled, or sent with `send`."""
        with self._lock:
            return list(islice(self._events, count))

    def _run(self) -> None:
        started_at = time.monotonic()
        for count, item in enumerate(self._records(), start=1):
            self._send(item, self._place(item.key))
            if count % 20 == 0 and self._per_second is not None:
                ahead = started_at + count / self._per_second - time.monotonic()
                if ahead < -MAX_BEHIND_SECONDS:
                    started_at -= ahead
                if self._stop.wait(max(0.0, ahead)):
                    return
            elif self._stop.is_set():
                return

    def _place(self, key: bytes) -> int:
        if self._scatter:
            return self._random.randrange(self.partitions)
        return self._partition_of.setdefault(key, len(self._partition_of)) % self.partitions

    def _send(self, item: Sending, partition: int) -> None:
        with self._lock:
            self.sent[item.kind] += 1
        try:
            future = self._producer.send(
                self._topic,
                key=item.key or None,
                value=item.value,
                partition=partition,
                timestamp_ms=item.log_time_ms,
            )
        except KafkaError as error:
            self._failures.append(f"{item.kind}: {error!r}")
            return
        future.add_callback(self._acknowledge, item.kind).add_errback(self._fail, item.kind)

    def _acknowledge(self, kind: Kind, found: Any) -> None:
        self._offsets[found.partition].append(found.offset)
        if kind is not Kind.EVENT:
            self.places[kind].append((found.partition, found.offset))
        self.acknowledged += 1

    def _fail(self, kind: Kind, error: BaseException) -> None:
        self._failures.append(f"{kind}: {error!r}")

    # --- what is sent ------------------------------------------------------------------------------------------------

    def _records(self) -> Iterator[Sending]:
        recent: deque[WireEvent] = deque(maxlen=REMEMBERED_EVENTS)
        changes = list(invalid.INVALID.values())
        for _ in range(self._count):
            (event,) = self.events_to_come(1)
            chance = self._random.random
            if chance() < self._shares.detailed:
                event = replace(event, value=invalid.detailed(event.value, self._random.randrange(10**6)))
            recent.append(event)
            yield Sending(Kind.EVENT, event.key, event.value)
            if chance() < self._shares.duplicates:
                again = self._random.choice(recent)
                yield Sending(Kind.DUPLICATE, again.key, again.value)
            if chance() < self._shares.invalid:
                yield Sending(Kind.INVALID, event.key, self._random.choice(changes)(event.value))
            if chance() < self._shares.late:
                yield Sending(Kind.LATE, event.key, invalid.late(event.value))

    # --- what became of it -------------------------------------------------------------------------------------------

    def disagreements(self, reference: Reference) -> list[str]:
        """Return where the reference, which has read the log, does not have what was acknowledged."""
        folds = {fold.partition.partition: fold for fold in reference.folds.values()}
        found = []
        for partition, offsets in self._offsets.items():
            fold = folds.get(partition)
            if fold is None or max(offsets) >= fold.next_offset or len(set(offsets)) != len(offsets):
                found.append(f"[{partition}] acknowledged up to {max(offsets)}, {len(offsets)} records")
            elif len(offsets) > (seen := fold.records + sum(end - start for start, end in fold.gaps)):
                # Whoever reads takes an offset without a record for a transaction's marker, the reference too.
                found.append(f"[{partition}] acknowledged {len(offsets)} records, of which {seen} were read")
        kinds: dict[Kind, Callable[[Any], Any]] = {
            Kind.INVALID: lambda fold: fold.rejected,
            Kind.LATE: lambda fold: fold.late,
            Kind.POISON: lambda fold: fold.poison,
        }
        for kind, where in kinds.items():
            found += [f"[{p}]@{o} is {kind}" for p, o in self.places[kind] if p in folds and o not in where(folds[p])]
        return found
