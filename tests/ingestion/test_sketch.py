from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.sketch import SketchError, build, count, merge, merge_all, quantile, quantiles

numbers = st.lists(st.floats(-1e9, 1e9).filter(lambda x: x == 0.0 or abs(x) >= 1e-6), min_size=1, max_size=80)


def one(values: list[float]) -> bytes:
    array = np.array(values, dtype=np.float64)
    return build(array, np.zeros(len(array), dtype=np.int64), 1)[0]


@given(numbers, st.floats(0.0, 1.0))
def test_every_quantile_is_within_one_percent(values: list[float], q: float) -> None:
    exact = sorted(values)[math.floor(q * (len(values) - 1))]
    assert quantile(one(values), q) == pytest.approx(exact, rel=0.0101)


@given(numbers, st.randoms(use_true_random=False))
def test_the_bytes_depend_on_the_values_alone(values: list[float], random: object) -> None:
    shuffled = sorted(values, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert one(shuffled) == one(values)


@given(numbers, st.integers(0, 80), st.integers(0, 80))
def test_merging_parts_equals_building_the_whole(values: list[float], first: int, second: int) -> None:
    low, high = sorted((first, second))
    parts = [one(values[:low]), one(values[low:high]), one(values[high:])]
    assert merge_all(parts) == merge(parts[2], merge(parts[0], parts[1])) == one(values)


def test_many_groups_are_built_at_once() -> None:
    random = np.random.default_rng(0)
    values, groups = random.lognormal(6.0, 2.0, 5_000), random.integers(0, 40, 5_000)
    groups[groups == 7] = 8
    built = build(values, groups, 40)
    assert built == [one(values[groups == group].tolist()) for group in range(40)]
    assert built[7] == b""
    assert sum(count(each) for each in built) == 5_000


def test_quantiles_of_real_shapes_are_within_one_percent() -> None:
    values = np.sort(np.random.default_rng(1).lognormal(6.0, 1.0, 100_000))
    qs = [0.0, 0.01, 0.5, 0.95, 0.99, 0.999, 1.0]
    exact = values[[math.floor(q * 99_999) for q in qs]]
    assert quantiles(one(values.tolist()), qs) == pytest.approx(exact.tolist(), rel=0.01)


def test_a_thousand_values_take_a_few_hundred_bytes() -> None:
    assert len(one(np.random.default_rng(1).lognormal(6.0, 0.5, 1_000).tolist())) < 400


def test_counts_beyond_four_bytes_survive() -> None:
    sketch = one([1.0] * 1_000)
    for _ in range(25):
        sketch = merge(sketch, sketch)
    assert count(sketch) == 1_000 * 2**25


def test_unknown_values_are_not_counted() -> None:
    assert one([math.nan, 1.0, math.nan]) == one([1.0])
    assert one([math.nan]) == b""
    assert count(b"") == 0
    assert math.isnan(quantile(b"", 0.5))


def test_zero_has_a_bucket_of_its_own() -> None:
    sketch = one([0.0, -0.0, 1e-12, 5.0])
    assert quantiles(sketch, [0.0, 0.5, 1.0]) == [0.0, 0.0, pytest.approx(5.0, rel=0.01)]


def test_beyond_its_range_a_value_counts_as_the_largest() -> None:
    assert quantile(one([1e300]), 0.5) == pytest.approx(1e15, rel=0.01)


def test_infinity_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        one([math.inf])


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_quantile_is_a_share(q: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        quantile(one([1.0]), q)


@pytest.mark.parametrize("damaged", [b"\x02\x01\x01", b"\x01\x81", b"\x01\x05"])
def test_other_bytes_are_refused(damaged: bytes) -> None:
    with pytest.raises(SketchError):
        quantile(damaged, 0.5)
