"""Two bridges at once, and one that sleeps through what the other does: the compare-and-set decides."""

from __future__ import annotations

from typing import Any

import pytest

from tests.failpoints.bench import Bench
from tests.failpoints.picture import check_settled, picture
from tests.failpoints.roles import BATCH_RECORDS
from tests.failpoints.test_bridge_dies import LOST, ingest_up_to_the_gap


def test_two_bridges_that_have_decided_the_same_dispatch_it_once(bench: Bench, reference: dict[str, Any]) -> None:
    first, second = bench.bridge("before_dispatch=freeze:nth=1"), bench.bridge("before_dispatch=freeze:nth=1")
    assert set(first.step()) == set(second.step()) == {"stopped"}
    for bridge in (first, second):
        bridge.thaw()
    assert {first.answer()["stepped"], second.answer()["stepped"]} == {True, False}
    assert len(bench.queue) == 1
    assert bench.cursor.attempt == 1
    bench.drain(bench.worker(), first)
    check_settled(bench.cursor.pk)
    assert picture(bench.cursor.pk) == reference


def test_two_slow_bridges_side_by_side_apply_nothing_twice(bench: Bench, reference: dict[str, Any]) -> None:
    armed = "after_cursors=sleep(0.02);after_ends=sleep(0.02);before_dispatch=sleep(0.02);before_publish=sleep(0.02)"
    bridges = [bench.bridge(armed), bench.bridge(armed)]
    worker = bench.worker(hands_over=False)
    outcomes = []
    while not bench.has_reached():
        for bridge in bridges:
            bridge.ask(step=True)
        steps = [bridge.answer("stepped")["stepped"] for bridge in bridges]
        assert sum(steps) <= 1
        while bench.queue:
            outcomes.append(worker.ingest(bench.queue.popleft()))
        bench.age()
    assert outcomes == [{"outcome": "committed"}] * 3
    check_settled(bench.cursor.pk)
    assert picture(bench.cursor.pk) == reference


def test_a_bridge_that_wakes_up_before_its_dispatch_dispatches_nothing(bench: Bench) -> None:
    zombie = bench.bridge("before_dispatch=freeze")
    assert set(zombie.step()) == {"stopped"}
    bench.drain(bench.worker(), bench.bridge())
    before = picture(bench.cursor.pk), bench.cursor.attempt
    zombie.thaw()
    assert zombie.answer() == {"stepped": False}
    assert list(bench.queue) == []
    assert (picture(bench.cursor.pk), bench.cursor.attempt) == before


def test_the_task_of_a_bridge_that_wakes_up_late_is_stale(bench: Bench, reference: dict[str, Any]) -> None:
    zombie = bench.bridge("before_publish=freeze")
    assert set(zombie.step()) == {"stopped"}
    bench.drain(bench.worker(), bench.bridge())
    zombie.thaw()
    assert zombie.answer() == {"stepped": True}
    (late,) = bench.queue
    assert (late.start, late.end, late.attempt) == (0, BATCH_RECORDS, 1)
    assert bench.worker().ingest(bench.queue.popleft()) == {"outcome": "stale"}
    check_settled(bench.cursor.pk)
    assert picture(bench.cursor.pk) == reference


def test_the_late_task_is_stale_even_while_its_range_is_still_open(bench: Bench, reference: dict[str, Any]) -> None:
    zombie = bench.bridge("before_publish=freeze")
    zombie.step()
    successor = bench.bridge()
    successor.step()
    bench.age()
    assert successor.step() == {"stepped": True}
    current = bench.queue.popleft()
    zombie.thaw()
    zombie.answer()
    late = bench.queue.popleft()
    assert (late.start, late.attempt, current.attempt) == (0, 1, 2)
    worker = bench.worker()
    assert worker.ingest(late) == {"outcome": "stale"}
    assert bench.batches() == []
    assert worker.ingest(current) == {"outcome": "committed"}
    bench.drain(worker)
    assert picture(bench.cursor.pk) == reference


@pytest.mark.parametrize("point", ["after_cursors", "after_ends", "before_gap"])
def test_a_bridge_that_wakes_up_late_records_no_second_gap(bench: Bench, point: str) -> None:
    ingest_up_to_the_gap(bench)
    zombie = bench.bridge(f"{point}=freeze")
    assert set(zombie.step()) == {"stopped"}
    bench.drain(bench.worker(), bench.bridge())
    zombie.thaw()
    zombie.answer("stepped")
    assert bench.gaps() == [LOST]
    assert list(bench.queue) == []
    check_settled(bench.cursor.pk)
