from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.fold import BLOCK_OFFSETS, PartitionState, Rows, StateVersionError
from detection.profile import Profile
from tests.detection.streams import Stream, advance, one_series, plainly, stream

LOG = stream(6_000, series=5, seed=3)
WHOLE = advance(LOG)


def steady(n: int, *, level: float = 100.0, spread: float = 1.0, seed: int = 0) -> list[float]:
    values: list[float] = (level + spread * np.random.default_rng(seed).standard_normal(n)).tolist()
    return values


@pytest.mark.parametrize("size", [1, 255, 256, 300, 3_000])
def test_any_batch_size_gives_the_same_verdicts_and_state_to_the_bit(size: int) -> None:
    state, verdicts, shifts = advance(LOG, cuts=range(0, LOG.end, size))
    assert verdicts == WHOLE[1]
    assert state.encode_all() == WHOLE[0].encode_all()
    assert shifts == WHOLE[2]


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, LOG.end - 1), max_size=12), reload=st.booleans())
def test_any_cutting_and_any_reload_between_gives_the_same_verdicts_and_state(cuts: list[int], reload: bool) -> None:
    state, verdicts, shifts = advance(LOG, cuts=cuts, reload=reload)
    assert verdicts == WHOLE[1]
    assert state.encode_all() == WHOLE[0].encode_all()
    assert shifts == WHOLE[2]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(3, 900))
def test_other_logs_do_not_depend_on_batches_either(seed: int, size: int) -> None:
    log = stream(1_200, series=4, seed=seed)
    once, often = advance(log), advance(log, cuts=range(0, log.end, size), reload=True)
    assert often[1] == once[1]
    assert often[0].encode_all() == once[0].encode_all()


def test_a_series_does_not_depend_on_its_neighbours() -> None:
    mine = LOG.series == 2
    alone = Stream(LOG.offset[mine], LOG.series[mine], LOG.keys, LOG.values[mine])
    state, verdicts, _ = advance(alone)
    key = LOG.keys[2]
    assert state.encode(key) == WHOLE[0].encode(key)
    rows = np.flatnonzero(mine)
    assert [int(rows[v.row]) for v in verdicts] == [v.row for v in WHOLE[1] if mine[v.row]]


@pytest.mark.parametrize("seed", [1, 2])
def test_verdicts_are_those_of_numpy_and_scipy_record_by_record(seed: int) -> None:
    log = stream(4_000, series=3, seed=seed)
    log.values[:, 0] = np.where(log.series == 0, log.values[::-1, 0], log.values[:, 0])
    _, verdicts, shifts = advance(log)
    assert not shifts
    expected = list(plainly(log))
    assert [(v.row, v.metric, v.detectors) for v in verdicts] == [each[:3] for each in expected]
    assert len(verdicts) > 100
    for verdict, (_, _, _, statistics) in zip(verdicts, expected, strict=True):
        for name, value in statistics.items():
            assert getattr(verdict, name) == pytest.approx(value, rel=1e-9, abs=1e-15), name


def test_a_value_is_scored_before_it_is_learned() -> None:
    log = one_series([*steady(BLOCK_OFFSETS), 1_000.0])
    _, [verdict], _ = advance(log)
    assert verdict.row == BLOCK_OFFSETS
    assert verdict.samples == BLOCK_OFFSETS
    assert verdict.mean == pytest.approx(np.mean(log.values[:BLOCK_OFFSETS, 0]), rel=1e-12)


def test_a_block_is_scored_against_its_start_and_learned_at_its_end() -> None:
    values = [*steady(BLOCK_OFFSETS), *([1_000.0] * BLOCK_OFFSETS), 1_000.0]
    _, verdicts, _ = advance(one_series(values))
    inside = [v for v in verdicts if BLOCK_OFFSETS <= v.row < 2 * BLOCK_OFFSETS]
    assert len(inside) == BLOCK_OFFSETS
    assert len({v.mean for v in inside}) == 1


@pytest.mark.parametrize(("before", "found"), [(9, 0), (10, 1)])
def test_a_baseline_serves_from_the_tenth_sample_on(before: int, found: int) -> None:
    log = one_series([*steady(before), 1_000.0])
    moved = Stream(log.offset.copy(), log.series, log.keys, log.values)
    moved.offset[-1] = BLOCK_OFFSETS
    _, verdicts, _ = advance(moved)
    assert len(verdicts) == found


def test_one_anomaly_lists_every_detector_that_fired() -> None:
    _, [verdict], _ = advance(one_series([*steady(BLOCK_OFFSETS), 1_000.0]))
    assert verdict.detectors == ("z_score", "iqr", "mad", "cusum")
    assert verdict.method == "z_score"
    assert verdict.direction == "above"
    assert verdict.z_score == verdict.deviation
    assert verdict.lower is not None
    assert verdict.upper is not None
    assert verdict.lower < 100.0 < verdict.upper < verdict.observed


def test_one_of_several_detectors_alone_is_no_anomaly() -> None:
    window = [*range(80, 120)] * 5
    limit = np.percentile(window, 75) + 1.5 * (np.percentile(window, 75) - np.percentile(window, 25))
    sigma3 = np.mean(window) + 3.0 * np.std(window)
    value = (sigma3 + limit) / 2  # beyond three sigma, inside the other fences
    assert sigma3 < value < limit
    log = one_series([*window, *([100.0] * (BLOCK_OFFSETS - len(window))), 0.0], metric="total_tokens")
    log.values[len(window) : BLOCK_OFFSETS, 1] = np.nan
    log.values[-1, 1] = value
    assert advance(log)[1] == []


def test_the_only_detector_of_a_metric_decides_alone() -> None:
    _, [verdict], _ = advance(one_series([*steady(BLOCK_OFFSETS), 1_000.0], metric="cost_usd"))
    assert verdict.detectors == ("z_score",)
    assert verdict.median == pytest.approx(np.median(steady(BLOCK_OFFSETS)))


def test_an_unknown_value_is_neither_scored_nor_learned() -> None:
    values = steady(600)
    with_unknown = [x for value in values for x in (value, float("nan"))]
    log = one_series(with_unknown)
    state, _, _ = advance(log)
    learned = state.learned(log.keys[0])["latency_ms"]
    assert not np.isnan(learned).any()
    assert len(state.learned(log.keys[0])["total_tokens"]) == 0


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 1e101])
def test_a_value_that_is_not_finite_is_refused_and_changes_nothing(value: float) -> None:
    state = PartitionState()
    log = one_series([1.0, value])
    with pytest.raises(ValueError, match="finite"):
        state.advance(log.rows(0, 2), end_offset=2, profile=Profile())
    assert (len(state), state.next_offset) == (0, 0)


def test_rows_outside_the_range_are_refused() -> None:
    state = PartitionState(next_offset=1)
    with pytest.raises(ValueError, match="ascend"):
        state.advance(one_series([1.0]).rows(0, 1), end_offset=2, profile=Profile())


def test_an_empty_range_moves_the_offset_alone() -> None:
    state = PartitionState()
    assert state.advance(one_series([]).rows(0, 1), end_offset=500, profile=Profile()) == []
    assert state.next_offset == 500


def test_an_anomalous_value_is_learned_at_its_outermost_fence() -> None:
    log = one_series([*steady(BLOCK_OFFSETS), 1_000.0, *steady(BLOCK_OFFSETS, seed=1)])
    state, verdicts, _ = advance(log)
    learned = state.learned(log.keys[0])["latency_ms"]
    spike = next(v for v in verdicts if v.observed == 1_000.0)
    reach = 3.5 * spike.mad / 0.6745
    fences = [spike.mean + 3.0 * spike.stddev, spike.q3 + 1.5 * (spike.q3 - spike.q1), spike.median + reach]
    assert learned[BLOCK_OFFSETS] == pytest.approx(max(fences), rel=1e-12)


def test_a_thousand_values_at_a_new_level_become_the_baseline() -> None:
    before, after = steady(1_024), steady(1_300, level=300.0, seed=1)
    log = one_series([*before, *after, *steady(BLOCK_OFFSETS, level=300.0, seed=2)])
    _, verdicts, [shift] = advance(log)
    assert shift.metric == "latency_ms"
    assert shift.series == log.keys[0]
    assert shift.samples == 1_000
    assert shift.log_offset == 2_048  # the end of the block that holds the thousandth
    assert shift.mean_before < 200.0
    assert shift.mean_after == pytest.approx(np.mean(after[:1_000]))
    assert shift.stddev_after == pytest.approx(np.std(after[:1_000]))
    assert max(v.row for v in verdicts if v.severity == "critical") < shift.log_offset


def test_a_value_back_at_the_old_level_ends_the_run() -> None:
    values = [*steady(1_024), *steady(999, level=300.0, seed=1), 100.0, *steady(600, level=300.0, seed=2)]
    assert advance(one_series(values))[2] == []


def test_a_series_that_was_free_learns_to_cost() -> None:
    log = one_series([0.0] * 300 + [0.0, 0.02] * 600, metric="cost_usd")
    _, verdicts, _ = advance(log)
    late = [v for v in verdicts if v.row >= 2 * BLOCK_OFFSETS]
    assert len(verdicts) > 0
    assert late == []


@pytest.mark.parametrize(("value", "found"), [(100.9, 0), (101.1, 1), (99.1, 0), (98.9, 1)])
def test_a_constant_series_allows_one_percent(value: float, found: int) -> None:
    _, verdicts, _ = advance(one_series([100.0] * BLOCK_OFFSETS + [value]))
    assert len(verdicts) == found
    assert all(v.flat and v.z_score is None for v in verdicts)


def test_values_that_nearly_agree_are_judged_by_their_own_spread() -> None:
    random = np.random.default_rng(0)
    values = 1e9 + random.standard_normal(BLOCK_OFFSETS) * 1e-3
    _, [verdict], _ = advance(one_series([*values, 1e9 + 0.1]))
    assert verdict.stddev == np.std(values)
    assert verdict.mean == np.mean(values)
    assert verdict.severity == "critical"


def test_series_beyond_the_limit_are_left_out_in_order_of_the_log_and_counted() -> None:
    log = stream(2_000, series=5, seed=1)
    profile = Profile(series_limit=2)
    state, verdicts, _ = advance(log, profile=profile, cuts=[7, 400], reload=True)
    first_two = list(dict.fromkeys(log.series.tolist()))[:2]
    assert {key for key in log.keys if key in state} == {log.keys[i] for i in first_two}
    assert all(log.series[v.row] in first_two for v in verdicts)
    whole = advance(log, profile=profile)
    assert whole[1] == verdicts
    assert whole[0].take_refused() == int((~np.isin(log.series, first_two)).sum())


def test_the_limit_is_known_before_a_row_is_stored() -> None:
    state = PartitionState()
    profile = Profile(series_limit=1)
    state.advance(one_series([1.0]).rows(0, 1), end_offset=1, profile=profile)
    keys = [(1, "new", "m"), (1, "chat", "gpt-4"), (2, "new", "m"), (2, "more", "m"), (1, "new", "m")]
    assert state.admits(keys, profile) == [False, True, True, False, False]
    assert len(state) == 1


@pytest.mark.parametrize("reload", [False, True])
def test_only_series_with_later_rows_count_as_touched(reload: bool) -> None:
    log = stream(2_000, series=5, seed=1, holes=False)
    state, _, _ = advance(log, cuts=[1_000, 1_500], reload=reload)
    assert state.touched_since(2_000) == []
    assert set(state.touched_since(1_990)) == {log.keys[i] for i in set(log.series[1_990:].tolist())}
    assert set(state.touched_since(0)) == set(log.keys)


def test_state_of_another_version_or_cut_short_is_not_read() -> None:
    key, data = next(iter(WHOLE[0].encode_all().items()))
    for damaged in (b"\xff\xff" + data[2:], data[:-1], data + b"\0"):
        with pytest.raises(StateVersionError):
            PartitionState.decode({key: damaged}, next_offset=0)


def test_a_log_without_rows_has_no_state() -> None:
    rows = Rows(
        offset=np.empty(0, dtype=np.int64),
        series=np.empty(0, dtype=np.int32),
        series_keys=[],
        values=np.empty((0, 3)),
    )
    state = PartitionState()
    assert state.advance(rows, end_offset=0, profile=Profile()) == []
    assert state.encode_all() == {}
