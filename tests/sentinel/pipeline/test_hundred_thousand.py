"""A hundred thousand events of which one in a hundred is sent twice: everything is as if each had been sent once."""

from __future__ import annotations

import time

import pytest

from detection.baselines import BaselineStore
from detection.models import Baseline
from ingestion.audit import audit
from ingestion.models import Batch
from sentinel.demo.generator import Workload, generate
from tests.sentinel.pipeline.conftest import Worker, new_partition
from tests.sentinel.pipeline.test_same_verdicts import picture

EVENTS = 100_000


# A record that is no event: it holds a place in the log, so that both logs have the same grid.
PLACEHOLDER = b"{}"


def logs() -> tuple[list[bytes], list[bytes]]:
    """Return a log with duplicates, and the same log with a placeholder for each of them."""
    workload = Workload(seed=11, seconds=1_000, per_second=1.2 * EVENTS / 1_000, max_text_characters=200)
    events = list(generate(workload, start_us=int((time.time() - 1_100) * 1_000_000)).events())[:EVENTS]
    twice, once = [], []
    for place, item in enumerate(events):
        twice.append(item.value)
        once.append(item.value)
        if place % 100 == 0:
            # Sent again at once, in a later batch, and much later.
            twice.append(events[max(0, place - (0, 2_000, 40_000)[place // 100 % 3])].value)
            once.append(PLACEHOLDER)
    assert len(events) == EVENTS
    return twice, once


def baselines(cursor_id: int) -> list[tuple[str, str, bytes, object]]:
    BaselineStore().checkpoint_idle(idle_seconds=-1)
    rows = (
        Baseline.objects.filter(cursor_id=cursor_id)
        .select_related("series")
        .order_by("series__service", "series__model")
    )
    return [(row.series.service, row.series.model, bytes(row.state), row.summary) for row in rows]


@pytest.mark.slow
def test_producer_duplicates_change_neither_rows_nor_verdicts_nor_baselines(worker: Worker) -> None:
    twice, once = logs()
    found = []
    for log in (twice, once):
        partition = new_partition()
        partition.append(*log)
        worker.drain(partition, batch_records=3_000)
        found.append({**picture(partition), "baselines": baselines(partition.cursor_id)})
        batches = Batch.objects.filter(cursor_id=partition.cursor_id)
        assert sum(batch.stored for batch in batches) == EVENTS
        assert [list(item.problems) for item in audit(partition.log) if item.topic == partition.topic] == [[]]
    for name in found[0]:
        assert found[0][name] == found[1][name], name
    assert len(found[0]["anomalies"]) > 100
