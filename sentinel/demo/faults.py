"""The faults that the demo injects: every kind of trouble an LLM service has, with its labels (pure).

The same kinds as the labelled evaluation streams use. Default magnitudes are larger than theirs: the textbook
detectors, which look at one value against a thousand, must have a chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from sentinel.demo.calls import NO_FAULT, SERVER_ERROR, TIMEOUT, Calls, fail
from sentinel.demo.catalogue import Source

MAX_COMPLETION_TOKENS = 8_192
BLOWUP_SHARE = 0.3
ERROR_SHARE = 0.5

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one source during [start, start + duration) of stream time."""

    id: str
    kind: str
    source: int
    start_seconds: float
    duration_seconds: float
    magnitude: float

    @property
    def end_seconds(self) -> float:
        return self.start_seconds + self.duration_seconds


@dataclass(frozen=True, slots=True)
class FaultKind:
    """How a kind of fault changes the calls of its window.

    `apply` gets all calls, the mask of the calls in the window, the fault and a random generator, and returns the
    calls and the mask of those it changed. `before_timing`: it changes arrivals or tokens, which timing depends on.
    `metrics`: those that show it, in the vocabulary of the anomalies. `single`: it hits single calls, not a window.
    """

    apply: Callable[[Calls, Mask, Fault, np.random.Generator], tuple[Calls, Mask]]
    metrics: frozenset[str]
    magnitude: float
    duration_seconds: float
    before_timing: bool = False
    single: bool = False


def _latency_spike(calls: Calls, window: Mask, fault: Fault, rng: np.random.Generator) -> tuple[Calls, Mask]:
    """Three slow calls: times `magnitude`, from the slower half, so that they leave the normal range."""
    rows = np.flatnonzero(window & (calls.failure == 0))
    slower = rows[calls.latency_ms[rows] >= np.median(calls.latency_ms[rows])]
    hit = np.zeros(len(calls), dtype=np.bool_)
    hit[rng.choice(slower, min(3, len(slower)), replace=False)] = True
    return _slow_down(calls, hit, np.full(int(hit.sum()), fault.magnitude)), hit


def _latency_shift(calls: Calls, window: Mask, fault: Fault, _rng: np.random.Generator) -> tuple[Calls, Mask]:
    """Every call takes `magnitude` times as long."""
    hit = window & (calls.failure == 0)
    return _slow_down(calls, hit, np.full(int(hit.sum()), fault.magnitude)), hit


def _drift(calls: Calls, window: Mask, fault: Fault, _rng: np.random.Generator) -> tuple[Calls, Mask]:
    """Latency ramps from 1 to `magnitude` times."""
    hit = window & (calls.failure == 0)
    elapsed = (calls.seconds[hit] - fault.start_seconds) / fault.duration_seconds
    return _slow_down(calls, hit, 1 + (fault.magnitude - 1) * elapsed), hit


def _slow_down(calls: Calls, hit: Mask, factor: npt.NDArray[np.float64]) -> Calls:
    latency, ttft = calls.latency_ms.copy(), calls.ttft_ms.copy()
    latency[hit] *= factor
    ttft[hit] *= factor
    return replace(calls, latency_ms=latency, ttft_ms=ttft)


def _error_burst(calls: Calls, window: Mask, fault: Fault, rng: np.random.Generator) -> tuple[Calls, Mask]:
    """A share `magnitude` of the calls fails: half of them time out after 30 s, half get a fast server error."""
    dice = rng.random(len(calls))
    timed_out = window & (dice < fault.magnitude / 2)
    refused = window & ~timed_out & (dice < fault.magnitude)
    failed = fail(calls, timed_out, TIMEOUT, rng)
    return fail(failed, refused, SERVER_ERROR, rng), timed_out | refused


def _token_blowup(calls: Calls, window: Mask, fault: Fault, rng: np.random.Generator) -> tuple[Calls, Mask]:
    """A third of the calls generate `magnitude` times as many tokens, at most 8,192: a model that rambles."""
    hit = window & (rng.random(len(calls)) < BLOWUP_SHARE)
    completion = calls.completion_tokens.copy()
    completion[hit] = np.minimum(completion[hit] * fault.magnitude, MAX_COMPLETION_TOKENS)
    return replace(calls, completion_tokens=completion), hit


def _cost_anomaly(calls: Calls, window: Mask, fault: Fault, _rng: np.random.Generator) -> tuple[Calls, Mask]:
    """The price is multiplied, tokens stay as they are: a wrong tier or a wrong price list."""
    hit = window & (calls.failure == 0)
    cost = calls.cost_usd.copy()
    cost[hit] *= fault.magnitude
    return replace(calls, cost_usd=cost), hit


def _throughput_drop(calls: Calls, window: Mask, fault: Fault, rng: np.random.Generator) -> tuple[Calls, Mask]:
    """A share `magnitude` of the requests disappears; the survivors carry the label."""
    gone = window & (rng.random(len(calls)) < fault.magnitude)
    return calls.take(~gone), window[~gone]


KINDS: Mapping[str, FaultKind] = MappingProxyType(
    {
        "latency_spike": FaultKind(
            _latency_spike,
            frozenset({"latency_ms", "ttft_ms"}),
            magnitude=10.0,
            duration_seconds=20,
            single=True,
        ),
        "latency_shift": FaultKind(
            _latency_shift,
            frozenset({"latency_ms", "ttft_ms"}),
            magnitude=4.0,
            duration_seconds=60,
        ),
        "error_burst": FaultKind(
            _error_burst,
            frozenset({"latency_ms", "error_rate", "errors", "cost_usd"}),
            magnitude=ERROR_SHARE,
            duration_seconds=40,
        ),
        "token_blowup": FaultKind(
            _token_blowup,
            frozenset({"total_tokens", "cost_usd", "latency_ms"}),
            magnitude=20.0,
            duration_seconds=60,
            before_timing=True,
        ),
        "cost_anomaly": FaultKind(
            _cost_anomaly,
            frozenset({"cost_usd"}),
            magnitude=10.0,
            duration_seconds=60,
        ),
        "drift": FaultKind(
            _drift,
            frozenset({"latency_ms", "ttft_ms"}),
            magnitude=5.0,
            duration_seconds=120,
        ),
        "throughput_drop": FaultKind(
            _throughput_drop,
            frozenset({"throughput", "requests_per_second"}),
            magnitude=0.9,
            duration_seconds=60,
            before_timing=True,
        ),
    }
)


def plan(
    sources: Sequence[Source],
    *,
    start_seconds: float,
    end_seconds: float,
    gap_seconds: float,
    number_from: int = 0,
    duration_factor: float = 1.0,
) -> list[Fault]:
    """Return faults one after another, kinds in turn, each on the next steady source, until `end_seconds`."""
    steady = [i for i, source in enumerate(sources) if source.is_steady]
    faults: list[Fault] = []
    at = start_seconds
    for number in range(number_from, number_from + 10_000):
        name = tuple(KINDS)[number % len(KINDS)]
        kind = KINDS[name]
        duration = kind.duration_seconds * duration_factor
        if at + duration > end_seconds:
            break
        faults.append(
            Fault(
                id=f"fault-{number:03d}-{name}",
                kind=name,
                source=steady[number % len(steady)],
                start_seconds=at,
                duration_seconds=duration,
                magnitude=kind.magnitude,
            )
        )
        at = math.ceil(at + duration + gap_seconds)
    return faults


def inject(
    calls: Calls,
    faults: Sequence[Fault],
    rng: np.random.Generator,
    *,
    before_timing: bool,
) -> Calls:
    """Return the calls with the faults of one stage applied, labelled in `calls.fault`."""
    for index, fault in enumerate(faults):
        kind = KINDS[fault.kind]
        if kind.before_timing is not before_timing:
            continue
        window = (
            (calls.source == fault.source)
            & (calls.seconds >= fault.start_seconds)
            & (calls.seconds < fault.end_seconds)
            & (calls.fault == NO_FAULT)
        )
        if not window.any():
            continue
        calls, hit = kind.apply(calls, window, fault, rng)
        label = calls.fault.copy()
        label[hit] = index
        calls = replace(calls, fault=label)
    return calls
