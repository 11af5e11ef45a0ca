"""The fitted tables sample what the traces show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sentinel.demo import azure
from sentinel.demo.fit import Trace, fit_load, fit_tokens, read_trace
from sentinel.demo.shape import Floats, LoadShape, TokenShape

SHAPES = {
    "conv": (azure.CONVERSATION_TOKENS, azure.CONVERSATION_LOAD),
    "code": (azure.CODE_TOKENS, azure.CODE_LOAD),
}
PER_SECOND = {
    "conv": azure.CONVERSATION_PER_SECOND,
    "code": azure.CODE_PER_SECOND,
}


@pytest.fixture
def trace(kind: str, shared_data: Path) -> Trace:
    return read_trace(shared_data / "azure" / f"AzureLLMInferenceTrace_{kind}.csv")


def kolmogorov_distance(first: Floats, second: Floats) -> float:
    grid = np.unique(np.concatenate([first, second]))
    return float(
        np.abs(
            np.searchsorted(np.sort(first), grid, "right") / len(first)
            - np.searchsorted(np.sort(second), grid, "right") / len(second)
        ).max()
    )


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_fitting_the_trace_gives_the_committed_tables(kind: str, trace: Trace) -> None:
    assert fit_tokens(trace) == SHAPES[kind][0]
    assert fit_load(trace) == SHAPES[kind][1]


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_sampled_tokens_are_distributed_like_the_trace(kind: str, trace: Trace) -> None:
    prompt, completion = SHAPES[kind][0].sample(np.random.default_rng(5), 20_000)
    assert kolmogorov_distance(prompt, trace.prompt) < 0.04
    assert kolmogorov_distance(completion, trace.completion) < 0.06


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_completions_depend_on_the_prompt_as_in_the_trace(kind: str, trace: Trace) -> None:
    prompt, completion = SHAPES[kind][0].sample(np.random.default_rng(6), 20_000)
    for low, high in ((0.0, 0.25), (0.5, 0.75), (0.75, 1.0)):
        bounds = np.quantile(trace.prompt, [low, high])
        real = trace.completion[(trace.prompt >= bounds[0]) & (trace.prompt <= bounds[1])]
        ours = completion[(prompt >= bounds[0]) & (prompt <= bounds[1])]
        assert np.median(ours) == pytest.approx(np.median(real), rel=0.15)


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_arrivals_are_as_bursty_as_the_trace(kind: str, trace: Trace) -> None:
    hours = 60
    ours = SHAPES[kind][1].arrivals(np.random.default_rng(7), seconds=3600 * hours, per_second=PER_SECOND[kind])
    assert len(ours) / hours == pytest.approx(PER_SECOND[kind] * 3600, rel=0.1)
    for width in (1, 60):
        real = np.bincount((trace.seconds // width).astype(int))[:-1]
        made = np.bincount((ours // width).astype(int))[:-1]
        dispersion = real.var() / real.mean()
        assert made.var() / made.mean() == pytest.approx(dispersion, rel=0.4)


def test_the_same_seed_samples_the_same_calls() -> None:
    shape = TokenShape((1, 10, 100), ((1, 2), (3, 4)))
    first = shape.sample(np.random.default_rng(1), 100)
    again = shape.sample(np.random.default_rng(1), 100)
    assert np.array_equal(first, again)


def test_a_prompt_band_keeps_to_its_quantiles() -> None:
    shape = TokenShape(tuple(range(0, 101, 10)), ((1, 2),))
    prompt, _ = shape.sample(np.random.default_rng(1), 1_000, prompt_band=(0.5, 0.6))
    assert prompt.min() >= 50
    assert prompt.max() <= 60


def test_arrivals_are_ascending_and_inside_the_span() -> None:
    load = LoadShape((0.5, 1.0, 1.5), 0.8, 10.0)
    times = load.arrivals(np.random.default_rng(1), seconds=90, per_second=20)
    assert (np.diff(times) >= 0).all()
    assert times[0] >= 0
    assert times[-1] < 90
