"""A worker's process is killed between any two steps: another one goes on, and nobody can tell from the result."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from ingestion.failpoint import FAILURE_POINTS, WORKER_POINTS
from ingestion.models import Batch
from tests.failpoints.bench import Bench
from tests.failpoints.picture import cache_entry, cached_state, check_settled, picture
from tests.failpoints.roles import BATCH_RECORDS

STARTED, COMMITTED, PUBLISHED = (WORKER_POINTS.index(name) for name in ("after_start", "after_commit", "after_redis"))


def published_offset(cursor_id: int) -> int | None:
    """Return where the state in Redis stands if it is that of the last commit; None for any other; 0 for none at all."""
    if not Batch.objects.filter(cursor_id=cursor_id).exists():
        return None if cache_entry(cursor_id) else 0
    state = cached_state(cursor_id)
    return state.next_offset if state else None


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", WORKER_POINTS)
def test_a_killed_worker_changes_nothing(bench: Bench, reference: dict[str, Any], point: str, nth: int) -> None:
    place = WORKER_POINTS.index(point)
    assert bench.drain(bench.worker(f"{point}=kill:nth={nth}")) == {"died": signal.SIGKILL}
    assert bench.hits() == [point]
    committed = nth if place >= COMMITTED else nth - 1
    assert bench.cursor.next_offset == committed * BATCH_RECORDS
    published = nth if place >= PUBLISHED else nth - 1
    assert published_offset(bench.cursor.pk) == (published * BATCH_RECORDS if published == committed else None)
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


@pytest.mark.parametrize("point", ["after_detect", "after_checkpoint", "after_commit", "before_redis"])
def test_a_worker_killed_with_a_checkpoint_due_changes_nothing(
    bench: Bench, reference: dict[str, Any], point: str
) -> None:
    worker = bench.worker(f"{point}=kill:nth=2", checkpoints=True)
    assert bench.drain(worker) == {"died": signal.SIGKILL}
    bench.drain(bench.worker(checkpoints=True))
    check_settled(bench.cursor.pk)
    assert picture(bench.cursor.pk) == reference


@pytest.mark.parametrize("point", ["after_detect", "after_commit"])
def test_every_second_worker_may_die(bench: Bench, reference: dict[str, Any], point: str) -> None:
    """Each process ingests one range and dies in its second, up to the end."""
    for _ in range(10):
        if "died" not in bench.drain(bench.worker(f"{point}=kill:nth=2")):
            break
    check_settled(bench.cursor.pk)
    assert picture(bench.cursor.pk) == reference


@pytest.mark.parametrize("point", FAILURE_POINTS)
def test_a_worker_killed_while_it_tells_of_a_failure_changes_nothing(
    bench: Bench, reference: dict[str, Any], point: str
) -> None:
    assert bench.drain(bench.worker(f"after_read=raise:nth=2; {point}=kill")) == {"died": signal.SIGKILL}
    assert bench.hits() == ["after_read", point]
    assert bench.cursor.has_open_attempt == (point == "before_end")
    bench.drain(bench.worker())
    check_settled(bench.cursor.pk)
    assert picture(bench.cursor.pk) == reference


@pytest.mark.parametrize("point", ["after_start", "before_commit", "after_commit", "before_unlock"])
def test_a_worker_killed_between_the_parts_of_a_range_changes_nothing(
    bench: Bench, reference: dict[str, Any], point: str
) -> None:
    """A stage breaks once: the second range is taken in parts from then on."""
    nth = 2 if point == "before_unlock" else 3
    assert bench.drain(bench.worker(f"after_scrub=raise:nth=2; {point}=kill:nth={nth}")) == {"died": signal.SIGKILL}
    assert bench.hits() == ["after_scrub", point]
    bench.drain(bench.worker())
    check_settled(bench.cursor.pk)
    # Ranges have other ends now, and with them the entries of a window that were suppressed at once, not at the claim.
    found = picture(bench.cursor.pk)
    assert {name: rows for name, rows in found.items() if name != "outbox"} == {
        name: rows for name, rows in reference.items() if name != "outbox"
    }
    assert len(found["outbox"]) == len(reference["outbox"])
