"""A hundred thousand events of which one in a hundred is sent twice: everything is as if each had been sent once.

What the pipeline has written is compared with a fold over the same log, and that fold with one over the log without
duplicates.
"""

from __future__ import annotations

import json
import time
from contextlib import closing

import pytest
import redis
from django.conf import settings

from detection.baselines import BaselineStore
from detection.checkpoint import summarise
from detection.models import Baseline
from ingestion.audit import audit
from sentinel.demo.generator import Workload, generate
from tests.faults.differences import Differences, differences
from tests.faults.invariants import cache
from tests.faults.reference import PartitionFold, Reference
from tests.faults.setting import Setting, read_setting
from tests.faults.witness import Witness, url_of_connection
from tests.sentinel.pipeline.conftest import Partition, Worker, new_partition

EVENTS = 100_000
DUPLICATES = EVENTS // 100

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


def folded(partition: Partition, setting: Setting) -> Reference:
    found = Reference(partition.log, setting, partition.topic)
    found.advance()
    return found


def the_fold(reference: Reference) -> PartitionFold:
    """Return the fold of partition 0, where all records are."""
    return next(fold for (_, partition), fold in reference.folds.items() if partition == 0)


def baselines(cursor_id: int) -> dict[tuple[str, str], tuple[bytes, object]]:
    """Return the checkpoint of every series."""
    BaselineStore().checkpoint_idle(idle_seconds=-1)
    rows = Baseline.objects.filter(cursor_id=cursor_id).select_related("series")
    return {(row.series.service, row.series.model): (bytes(row.state), row.summary) for row in rows}


def baselines_of(fold: PartitionFold) -> dict[tuple[str, str], tuple[bytes, object]]:
    state = fold.state
    return {
        (key[1], key[2]): (data, json.loads(json.dumps(summarise(state.learned(key)))))
        for key, data in state.encode_all().items()
    }


@pytest.mark.slow
def test_producer_duplicates_change_neither_rows_nor_verdicts_nor_baselines(worker: Worker) -> None:
    twice, once = logs()
    partition, other = new_partition(), new_partition()
    partition.append(*twice)
    other.append(*once)
    worker.drain(partition, batch_records=3_000)
    with closing(Witness(url_of_connection(), topic=partition.topic)) as witness:
        setting = read_setting(witness, partition.topic)
        reference = folded(partition, setting)
        found = differences(reference, witness.url)
        with redis.Redis.from_url(settings.REDIS_URL) as client:
            cached = Differences()
            assert cache.check(reference, witness, client, cached, installation=settings.SENTINEL_INSTALLATION) == 1
    assert found.holds, found
    assert cached.holds, cached
    assert (found.events, the_fold(reference).duplicates) == (EVENTS, DUPLICATES)
    assert found.anomalies > 100
    assert [list(item.problems) for item in audit(partition.log) if item.topic == partition.topic] == [[]]
    assert baselines(partition.cursor_id) == baselines_of(the_fold(reference))

    undoubled = folded(other, setting)
    assert len(the_fold(undoubled).rejected) == DUPLICATES
    assert undoubled.findings() == reference.findings()
    assert the_fold(undoubled).state.encode_all() == the_fold(reference).state.encode_all()
    assert the_fold(undoubled).rollups.total() == the_fold(reference).rollups.total()
