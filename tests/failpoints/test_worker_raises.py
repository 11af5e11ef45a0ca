"""An error between any two steps: the same process tries again, and keeps nothing of what it had begun."""

from __future__ import annotations

from typing import Any

import pytest

from ingestion.failpoint import WORKER_POINTS
from tests.failpoints.bench import Bench
from tests.failpoints.picture import check_settled, picture

# An attempt that ends there has neither said so nor died: the bridge waits for a report, then halves the range.
UNEXPLAINED = "after_start"


def drain(bench: Bench, armed: str) -> None:
    """Let one worker, whose tasks may fail, ingest everything."""
    worker = bench.worker(armed)
    while "outcome" not in (answer := bench.drain(worker)):
        assert set(answer) == {"raised"}


@pytest.mark.parametrize("point", WORKER_POINTS)
def test_an_error_changes_nothing(bench: Bench, reference: dict[str, Any], point: str) -> None:
    drain(bench, f"{point}=raise:nth=2")
    assert bench.hits() == [point]
    assert bench.most_strikes == (1 if point == UNEXPLAINED else 0)
    check_settled(bench.cursor.pk)
    assert picture(bench.cursor.pk) == reference


@pytest.mark.parametrize("point", ["after_read", "after_decode", "after_scrub", "after_copy", "after_detect"])
def test_a_lack_of_memory_changes_nothing(bench: Bench, reference: dict[str, Any], point: str) -> None:
    drain(bench, f"{point}=memory:nth=2")
    assert bench.hits() == [point]
    assert bench.most_strikes == 0
    check_settled(bench.cursor.pk)
    assert picture(bench.cursor.pk) == reference
