"""A bridge is killed between any two steps: the next one goes on from the cursor's row alone."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from ingestion.failpoint import BRIDGE_POINTS
from tests.failpoints.bench import Bench
from tests.failpoints.picture import check_settled, picture
from tests.failpoints.roles import BATCH_RECORDS

# The others lie on paths of their own: `before_seek` in test_bridge_on_kafka, gaps below.
EVERY_STEP = [point for point in BRIDGE_POINTS if point not in {"before_seek", "before_gap", "after_gap"}]
MARKED_ONLY = ["after_dispatch", "before_publish"]


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", EVERY_STEP)
def test_a_killed_bridge_changes_nothing(bench: Bench, reference: dict[str, Any], point: str, nth: int) -> None:
    # What workers hand over is lost, so that every range comes from a bridge.
    worker = bench.worker(hands_over=False)
    assert bench.drain(worker, bench.bridge(f"{point}=kill:nth={nth}")) == {"died": signal.SIGKILL}
    assert bench.hits() == [point]
    bench.drain(worker, bench.bridge())
    assert len(bench.batches()) == 3
    assert bench.most_strikes == 0
    check_settled(bench.cursor.pk)
    assert picture(bench.cursor.pk) == reference


@pytest.mark.parametrize("point", EVERY_STEP)
def test_a_bridge_that_fails_once_goes_on(bench: Bench, reference: dict[str, Any], point: str) -> None:
    worker, bridge = bench.worker(hands_over=False), bench.bridge(f"{point}=raise:nth=2")
    assert bench.drain(worker, bridge) == {"raised": "FailpointError"}
    bench.drain(worker, bridge)
    check_settled(bench.cursor.pk)
    assert picture(bench.cursor.pk) == reference


@pytest.mark.parametrize("point", MARKED_ONLY)
def test_a_range_that_was_marked_but_never_sent_is_sent_again_after_a_while(bench: Bench, point: str) -> None:
    assert bench.bridge(f"{point}=kill").step() == {"died": signal.SIGKILL}
    assert (bench.cursor.attempt, bench.cursor.dispatches, list(bench.queue)) == (1, 1, [])
    successor = bench.bridge()
    assert successor.step() == {"stepped": False}
    bench.age()
    assert successor.step() == {"stepped": True}
    (task,) = bench.queue
    assert (task.start, task.end, task.attempt) == (0, BATCH_RECORDS, 2)


def test_a_range_that_was_sent_is_not_sent_again_by_the_next_bridge(bench: Bench) -> None:
    assert bench.bridge("after_publish=kill").step() == {"died": signal.SIGKILL}
    assert len(bench.queue) == 1
    assert bench.bridge().step() == {"stepped": False}
    assert len(bench.queue) == 1


# --- gaps --------------------------------------------------------------------------------------------------------------

LOST = (BATCH_RECORDS, BATCH_RECORDS + 150)


def ingest_up_to_the_gap(bench: Bench) -> None:
    """Ingest one range; then retention removes more than that."""
    bench.drain(bench.worker(hands_over=False), until=LOST[0])
    bench.expire(LOST[1])
    bench.age()


@pytest.fixture(scope="module")
def reference_with_gap(processes: Any, topics: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what the log gives with a gap and nothing else."""
    bench = Bench(processes, topics.new(), tmp_path_factory.mktemp("gap"))
    ingest_up_to_the_gap(bench)
    bench.drain(bench.worker())
    bench.close()
    return picture(bench.cursor.pk)


@pytest.mark.parametrize("action", ["kill", "raise"])
@pytest.mark.parametrize("point", ["before_gap", "after_gap"])
def test_a_bridge_that_ends_at_a_gap_leaves_one(
    bench: Bench, reference_with_gap: dict[str, Any], point: str, action: str
) -> None:
    ingest_up_to_the_gap(bench)
    assert set(bench.bridge(f"{point}={action}").step()) == {"died" if action == "kill" else "raised"}
    assert bench.gaps() == ([] if point == "before_gap" else [LOST])
    bench.drain(bench.worker(), bench.bridge())
    assert bench.gaps() == [LOST]
    check_settled(bench.cursor.pk)
    assert picture(bench.cursor.pk) == reference_with_gap
