"""CPU seconds of single stages, inside this process, on the events of the benchmark."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from detection.fold import PartitionState, Rows
from detection.profile import Profile
from ingestion.limits import DEFAULT_LIMITS
from ingestion.reject import Rejected
from ingestion.scrub import Scrubber
from ingestion.scrub.events import scrub_events
from ingestion.validate import Accepted, decode_event
from sentinel.demo.bench_load import bench_events

EVENTS = 30_000
BATCH = 3_000


def measure_phases(names: Sequence[str], *, seed: int) -> dict[str, float]:
    """Return CPU seconds per 100,000 events of each named stage, in batches as the pipeline makes them."""
    payloads = [event.value for event in bench_events(EVENTS, seed=seed, end_us=time.time_ns() // 1_000)]
    accepted = _decoded(payloads)
    return {name: round(_PHASES[name](payloads, accepted) * 100_000 / EVENTS, 3) for name in dict.fromkeys(names)}


def _decoded(payloads: Sequence[bytes]) -> list[Accepted]:
    verdicts = [
        decode_event(payload, log_time_us=0, default_event_id=None, limits=DEFAULT_LIMITS) for payload in payloads
    ]
    return [verdict for verdict in verdicts if not isinstance(verdict, Rejected)]


def _decode(payloads: Sequence[bytes], _accepted: Sequence[Accepted]) -> float:
    started = time.process_time()
    _decoded(payloads)
    return time.process_time() - started


def _scrub(_payloads: Sequence[bytes], accepted: Sequence[Accepted]) -> float:
    scrubber = Scrubber(key=b"key of the benchmark")
    scrub_events(accepted[:1], scrubber)
    started = time.process_time()
    for first in range(0, len(accepted), BATCH):
        scrub_events(accepted[first : first + BATCH], scrubber)
    return time.process_time() - started


def _detect(_payloads: Sequence[bytes], accepted: Sequence[Accepted]) -> float:
    state, profile = PartitionState(), Profile()
    started = time.process_time()
    for first in range(0, len(accepted), BATCH):
        rows = _rows(accepted[first : first + BATCH], first)
        state.advance(rows, end_offset=first + len(rows.offset), profile=profile)
    return time.process_time() - started


def _rows(accepted: Sequence[Accepted], first: int) -> Rows:
    keys: dict[tuple[int, str, str], int] = {}
    events = [item.event for item in accepted]
    series = [keys.setdefault((1, event.service_name, event.model), len(keys)) for event in events]
    values = [
        (event.latency_ms, (event.prompt.tokens or 0) + (event.response.tokens or 0), event.cost_usd or np.nan)
        for event in events
    ]
    return Rows(
        offset=np.arange(first, first + len(events), dtype=np.int64),
        series=np.array(series, dtype=np.int32),
        series_keys=list(keys),
        values=np.array(values, dtype=np.float64),
    )


_PHASES: Mapping[str, Callable[[Sequence[bytes], Sequence[Accepted]], float]] = MappingProxyType(
    {"decode": _decode, "scrub": _scrub, "detect": _detect}
)
