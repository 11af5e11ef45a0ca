"""A labelled stream of telemetry: the same seed gives the same calls, ids, texts and faults (pure)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from sentinel.demo.calls import Calls, arrive, time_and_price
from sentinel.demo.catalogue import SOURCES, Source
from sentinel.demo.faults import KINDS, Fault, inject
from sentinel.demo.render import WireEvent, event_ids, render


@dataclass(frozen=True, slots=True)
class Workload:
    """What to generate: `per_second` is the mean over all sources, `start_hour` the time of day it begins at."""

    seed: int
    seconds: int
    per_second: float
    faults: tuple[Fault, ...] = ()
    sources: tuple[Source, ...] = SOURCES
    # Streams of the same seed and different parts are independent: a long run is made part by part.
    part: int = 0
    start_hour: float = 15.0
    max_text_characters: int = 2_000
    # So many seconds of the stream pass in one second of event time: a live demo can be hurried.
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """The label of a fault: when, where, which calls it changed, and which metrics show it."""

    id: str
    kind: str
    service: str
    model: str
    start_us: int
    end_us: int
    magnitude: float
    metrics: frozenset[str]
    event_ids: frozenset[uuid.UUID] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Stream:
    """Generated calls, in order of time, with their ids; `start_us` is the epoch time of second 0."""

    workload: Workload
    calls: Calls
    ids: Sequence[uuid.UUID]
    start_us: int

    def __len__(self) -> int:
        return len(self.calls)

    def events(self) -> Iterator[WireEvent]:
        """Yield the events in order of time."""
        work = self.workload
        at = self.start_us + np.rint(self.calls.seconds * 1e6 / work.speed).astype(np.int64)
        return render(
            self.calls,
            work.sources,
            self.ids,
            at,
            _generators(work)[3],
            max_text_characters=work.max_text_characters,
        )

    def faults(self) -> list[InjectedFault]:
        """Return the labels of the faults that hit anything."""
        return [
            self._label(index, fault)
            for index, fault in enumerate(self.workload.faults)
            if (self.calls.fault == index).any()
        ]

    def _label(self, index: int, fault: Fault) -> InjectedFault:
        source = self.workload.sources[fault.source]
        rows = np.flatnonzero(self.calls.fault == index).tolist()
        return InjectedFault(
            id=fault.id,
            kind=fault.kind,
            service=source.service,
            model=source.model,
            start_us=self.start_us + round(fault.start_seconds * 1e6 / self.workload.speed),
            end_us=self.start_us + round(fault.end_seconds * 1e6 / self.workload.speed),
            magnitude=fault.magnitude,
            metrics=KINDS[fault.kind].metrics,
            event_ids=frozenset(self.ids[row] for row in rows),
        )


def generate(workload: Workload, *, start_us: int) -> Stream:
    """Simulate the workload; only the timestamps depend on `start_us`."""
    arrivals, timing, trouble, _, naming = _generators(workload)
    calls = arrive(
        workload.sources,
        arrivals,
        seconds=workload.seconds,
        per_second=workload.per_second,
    )
    calls = inject(calls, workload.faults, trouble, before_timing=True)
    calls = time_and_price(calls, workload.sources, timing, start_hour=workload.start_hour)
    calls = inject(calls, workload.faults, trouble, before_timing=False)
    return Stream(workload, calls, event_ids(naming, len(calls)), start_us)


def _generators(workload: Workload) -> list[np.random.Generator]:
    """Return independent generators for arrivals, timing, faults, texts and ids."""
    root = np.random.SeedSequence([workload.seed, workload.part])
    return [np.random.default_rng(child) for child in root.spawn(5)]
