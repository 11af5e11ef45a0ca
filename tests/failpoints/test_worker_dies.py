"""A worker's process is killed between any two steps: another one goes on, and nobody can tell from the result."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from ingestion.failpoint import WORKER_POINTS
from tests.failpoints.bench import Bench
from tests.failpoints.picture import cached_state, check_settled, encoded, picture
from tests.failpoints.roles import BATCH_RECORDS

STARTED, COMMITTED, PUBLISHED = (WORKER_POINTS.index(name) for name in ("after_start", "after_commit", "after_redis"))


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", WORKER_POINTS)
def test_a_killed_worker_changes_nothing(bench: Bench, reference: dict[str, Any], point: str, nth: int) -> None:
    place = WORKER_POINTS.index(point)
    assert bench.drain(bench.worker(f"{point}=kill:nth={nth}")) == {"died": signal.SIGKILL}
    assert bench.hits() == [point]
    assert bench.cursor.next_offset == (nth if place >= COMMITTED else nth - 1) * BATCH_RECORDS
    bench.drain(bench.worker())
    assert bench.most_strikes == (1 if STARTED <= place < COMMITTED else 0)
    check_settled(bench.cursor.pk)
    assert picture(bench.cursor.pk) == reference


@pytest.mark.parametrize("point", ["before_copy", "after_copy"])
def test_a_worker_killed_while_it_stages_changes_nothing(bench: Bench, reference: dict[str, Any], point: str) -> None:
    assert bench.drain(bench.worker(f"{point}=kill:nth=3")) == {"died": signal.SIGKILL}
    assert bench.cursor.stage_batches == 50
    bench.drain(bench.worker())
    check_settled(bench.cursor.pk)
    assert picture(bench.cursor.pk) == reference


@pytest.mark.parametrize(
    "point", ["after_detect", "after_batch", "after_checkpoint", "before_commit", "after_commit", "before_redis"]
)
def test_a_worker_killed_with_a_checkpoint_due_changes_nothing(
    bench: Bench, reference: dict[str, Any], point: str
) -> None:
    worker = bench.worker(f"{point}=kill:nth=2", checkpoints=True)
    assert bench.drain(worker) == {"died": signal.SIGKILL}
    bench.drain(bench.worker(checkpoints=True))
    check_settled(bench.cursor.pk)
    assert picture(bench.cursor.pk) == reference


@pytest.mark.parametrize("point", ["after_commit", "before_redis"])
def test_a_state_that_redis_never_got_is_rebuilt(bench: Bench, point: str) -> None:
    bench.drain(bench.worker(f"{point}=kill:nth=2"))
    assert cached_state(bench.cursor.pk) is None
    bench.drain(bench.worker())
    assert cached_state(bench.cursor.pk) is not None


def test_a_state_that_redis_got_is_that_of_the_last_commit(bench: Bench) -> None:
    bench.drain(bench.worker("after_redis=kill:nth=2"))
    found = cached_state(bench.cursor.pk)
    assert found is not None
    assert found.next_offset == 2 * BATCH_RECORDS
    assert encoded(found) == picture(bench.cursor.pk)["rebuilt state"]


@pytest.mark.parametrize("point", ["after_read", "after_detect", "before_commit", "after_commit"])
def test_every_second_worker_may_die(bench: Bench, reference: dict[str, Any], point: str) -> None:
    """Each process ingests one range and dies in its second, up to the end."""
    for _ in range(10):
        if "died" not in bench.drain(bench.worker(f"{point}=kill:nth=2")):
            break
    check_settled(bench.cursor.pk)
    assert picture(bench.cursor.pk) == reference
