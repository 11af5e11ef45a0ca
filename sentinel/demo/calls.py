"""Simulated calls as columns, from arrivals and tokens to latency and cost (pure, vectorised)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from sentinel.demo.call_model import NOISE_SIGMA
from sentinel.demo.catalogue import Source
from sentinel.demo.shape import Floats

ERROR_RATE = 0.005
# Queueing and retries: these requests get an extra lognormal factor. They are normal, not faults.
SLOW_SHARE, SLOW_SIGMA = 0.015, 0.5
NO_FAULT = -1

# Codes of `Calls.failure`.
FAILURES = ("", "rate_limited", "timeout", "server_error")
RATE_LIMITED, TIMEOUT, SERVER_ERROR = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Calls:
    """`n` calls in the order of `seconds` (since the start of the stream); every column has shape [n].

    `source` indexes the catalogue, `fault` the list of injected faults (`NO_FAULT`: none), `failure` `FAILURES`.
    """

    seconds: Floats
    source: npt.NDArray[np.intp]
    prompt_tokens: Floats
    completion_tokens: Floats
    latency_ms: Floats
    ttft_ms: Floats
    cost_usd: Floats
    failure: npt.NDArray[np.int8]
    fault: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.seconds)

    def take(self, index: npt.NDArray[np.intp] | npt.NDArray[np.bool_] | slice) -> Self:
        """Return the chosen rows."""
        return type(self)(*(getattr(self, f.name)[index] for f in fields(self)))


def arrive(
    sources: Sequence[Source],
    rng: np.random.Generator,
    *,
    seconds: int,
    per_second: float,
) -> Calls:
    """Return the calls of all sources with arrival time and tokens; timing is still zero."""
    total_share = sum(source.share for source in sources)
    times, tokens_in, tokens_out, which = [], [], [], []
    for index, source in enumerate(sources):
        at = source.load.arrivals(rng, seconds=seconds, per_second=per_second * source.share / total_share)
        prompt, completion = source.tokens.sample(rng, len(at), prompt_band=source.prompt_band)
        times.append(at)
        tokens_in.append(prompt)
        tokens_out.append(completion)
        which.append(np.full(len(at), index, dtype=np.intp))
    at = np.concatenate(times)
    zeros = np.zeros(len(at))
    calls = Calls(
        seconds=at,
        source=np.concatenate(which),
        prompt_tokens=np.concatenate(tokens_in),
        completion_tokens=np.concatenate(tokens_out),
        latency_ms=zeros,
        ttft_ms=zeros,
        cost_usd=zeros,
        failure=np.zeros(len(at), dtype=np.int8),
        fault=np.full(len(at), NO_FAULT, dtype=np.int32),
    )
    return calls.take(np.argsort(at, kind="stable"))


def time_and_price(
    calls: Calls,
    sources: Sequence[Source],
    rng: np.random.Generator,
    *,
    start_hour: float,
) -> Calls:
    """Return the calls with latency, time to first token and cost; 0.5 % of them fail fast and cost nothing."""
    latency, ttft, cost = (np.empty(len(calls)) for _ in range(3))
    for index, source in enumerate(sources):
        mine = calls.source == index
        prompt, completion = calls.prompt_tokens[mine], calls.completion_tokens[mine]
        latency[mine] = source.calls.latency_ms(prompt, completion)
        ttft[mine] = source.calls.ttft_ms(prompt)
        cost[mine] = source.calls.cost_usd(prompt, completion)
    slowness = _load_factor(calls.seconds, rng, start_hour=start_hour)
    slowness *= rng.lognormal(0, NOISE_SIGMA, len(calls))
    slow = rng.random(len(calls)) < SLOW_SHARE
    slowness[slow] *= rng.lognormal(0, SLOW_SIGMA, int(slow.sum()))
    timed = replace(calls, latency_ms=latency * slowness, ttft_ms=ttft * slowness, cost_usd=cost)
    return fail(timed, rng.random(len(calls)) < ERROR_RATE, RATE_LIMITED, rng)


def fail(
    calls: Calls,
    hit: npt.NDArray[np.bool_],
    failure: int,
    rng: np.random.Generator,
) -> Calls:
    """Return the calls with those of mask `hit` failed: a time-out after 30 s, anything else within 60 to 200 ms."""
    count = int(hit.sum())
    latency, completion = calls.latency_ms.copy(), calls.completion_tokens.copy()
    cost, codes = calls.cost_usd.copy(), calls.failure.copy()
    if failure == TIMEOUT:
        latency[hit] = 30_000 + rng.exponential(150, count)
    else:
        latency[hit] = rng.uniform(60, 200, count)
    completion[hit], cost[hit], codes[hit] = 0, 0, failure
    return replace(
        calls,
        latency_ms=latency,
        completion_tokens=completion,
        cost_usd=cost,
        failure=codes,
    )


def _load_factor(seconds: Floats, rng: np.random.Generator, *, start_hour: float) -> Floats:
    """Return 1 + 0.10 * time of day (peak 15:00) + AR(1) noise per minute (sd 0.04)."""
    minutes = int(seconds[-1] // 60) + 1 if len(seconds) else 0
    noise = np.zeros(minutes)
    fresh = 0.04 * math.sqrt(1 - 0.95**2)
    for minute in range(1, minutes):
        noise[minute] = 0.95 * noise[minute - 1] + fresh * rng.normal()
    hours = start_hour + seconds / 3600
    day = 0.5 * (1 + np.cos(2 * np.pi * (hours - 15) / 24))
    return np.asarray(1 + 0.10 * day + noise[(seconds // 60).astype(np.intp)], dtype=np.float64)
