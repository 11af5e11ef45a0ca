from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detection.window import Run, Track, Window

pieces = st.lists(st.lists(st.integers(0, 5).map(float), max_size=40), max_size=12)


@given(pieces, st.integers(1, 60))
def test_a_window_holds_the_last_values_in_order_and_sorted(parts: list[list[float]], size: int) -> None:
    window = Window()
    everything: list[float] = []
    for part in parts:
        window.append(np.array(part), size=size)
        everything += part
        assert window.values.tolist() == everything[-size:]
        assert window.ordered.tolist() == sorted(everything[-size:])
        assert len(window) == len(everything[-size:])


def test_a_window_of_a_thousand_keeps_a_quarter_to_spare_at_most() -> None:
    window = Window()
    for _ in range(5_000):
        window.append(np.ones(1), size=1_000)
    assert window.values.base is not None
    assert len(window.values.base) <= 1_250


def learn(track: Track, raw: list[float], learned: list[float], size: int = 100) -> bool:
    level = track.learn(np.array(raw), np.array(learned), size=size, new_level_samples=5)
    return level is not None


def test_values_beyond_the_frozen_fence_on_one_side_become_the_level() -> None:
    track = Track(Window(np.ones(20)))
    assert not learn(track, [9.0, 8.0, 7.0], [3.0, 3.5, 4.0])
    assert track.run == Run(above=True, fence=3.0, values=[9.0, 8.0, 7.0])
    assert learn(track, [3.5, 3.2, 1.0], [3.5, 3.2, 1.0])
    assert not track.run
    assert track.window.values.tolist() == [9.0, 8.0, 7.0, 3.5, 3.2, 1.0]


def test_a_value_inside_the_frozen_fence_ends_the_run() -> None:
    track = Track(Window(np.ones(20)))
    assert not learn(track, [9.0, 9.0, 9.0, 9.0, 2.9, 9.0], [3.0, 3.0, 3.0, 3.0, 2.9, 3.0])
    assert track.run is not None
    assert track.run.values == [9.0]


def test_an_anomaly_on_the_other_side_begins_a_run_of_its_own() -> None:
    track = Track(Window(np.ones(20)))
    assert not learn(track, [9.0, -9.0], [3.0, -1.0])
    assert track.run is not None
    assert not track.run.above
    assert track.run.values == [-9.0]
