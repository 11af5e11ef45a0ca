"""The same log gives the same rows, verdicts, roll-ups and baselines, however it is cut and whatever is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection

from tests.sentinel.pipeline.conftest import Partition, Worker, event, new_partition, new_worker

ANOMALY = (
    "event_id, metric, anomaly_type, severity, detection_method, detectors::text, observed, baseline_mean, "
    "baseline_stddev, baseline_median, lower, upper, deviation, z_score, p_value, confidence, samples, log_offset"
)
EVENT = "event_id, timestamp, log_offset, service, model, latency_ms, total_tokens, cost_usd, scored, prompt_text"
ROLLUP = """
    SELECT service, model, window_start, events, weight, errors, late_events, latency_count, latency_sum, ttft_count,
           ttft_sum, tokens_count, cost_count, cost_sum, latency_min, latency_max, latency_sketch, tokens_sketch,
           cost_sketch, prompt_tokens_sum, completion_tokens_sum
    FROM metric_rollup JOIN ingestion_series series ON series.id = series_id
    WHERE series.project_id = %s ORDER BY 1, 2, 3
"""


def picture(partition: Partition) -> dict[str, Sequence[Any]]:
    """Return everything that must not depend on how the log was cut."""
    project_id = partition.cursor.project_id
    with connection.cursor() as sql:
        found: dict[str, Sequence[Any]] = {}
        for name, query in {
            "events": f"SELECT {EVENT} FROM events WHERE project_id = %s ORDER BY log_offset",
            "anomalies": f"SELECT {ANOMALY} FROM detection_anomaly WHERE project_id = %s ORDER BY log_offset, metric",
            "rollups": ROLLUP,
        }.items():
            sql.execute(query, [project_id])
            found[name] = [tuple(bytes(v) if isinstance(v, memoryview) else v for v in row) for row in sql.fetchall()]
    return found


LOG = [event(n) if n % 50 else event(max(0, n - 30)) for n in range(1200)]


@pytest.fixture
def reference(partition: Partition, worker: Worker) -> dict[str, Sequence[Any]]:
    partition.append(*LOG)
    worker.drain(partition, batch_records=3_000)
    found = picture(partition)
    assert len(found["anomalies"]) > 10
    assert len(found["events"]) == len(set(LOG))
    return found


def ingested(worker: Worker, *, batch_records: int) -> dict[str, Sequence[Any]]:
    partition = new_partition()
    partition.append(*LOG)
    worker.drain(partition, batch_records=batch_records)
    return picture(partition)


@pytest.mark.parametrize("batch_records", [1, 7, 256, 300])
def test_any_cutting_gives_the_same_verdicts(
    reference: dict[str, Sequence[Any]], worker: Worker, batch_records: int
) -> None:
    assert ingested(worker, batch_records=batch_records) == reference


def test_two_workers_in_turn_give_the_same_verdicts(
    reference: dict[str, Sequence[Any]], two_workers: tuple[Worker, Worker]
) -> None:
    partition = new_partition()
    partition.append(*LOG)
    for turn, until in enumerate(range(100, len(LOG) + 1, 100)):
        two_workers[turn % 2].drain(partition, batch_records=33, until=until)
    assert picture(partition) == reference


def test_an_empty_redis_gives_the_same_verdicts(reference: dict[str, Sequence[Any]]) -> None:
    partition = new_partition()
    partition.append(*LOG)
    for until in range(100, len(LOG) + 1, 100):
        redis.Redis.from_url(settings.REDIS_URL).flushall()
        new_worker().drain(partition, batch_records=45, until=until)
    assert picture(partition) == reference


def test_an_attempt_that_fails_before_its_commit_changes_nothing(
    reference: dict[str, Sequence[Any]], worker: Worker
) -> None:
    partition = new_partition()
    partition.append(*LOG)
    worker.drain(partition, batch_records=200, until=400)
    with connection.cursor() as sql:
        # Refuses the batch row, which is written last: everything before it is rolled back.
        sql.execute("ALTER TABLE ingestion_batch ADD CONSTRAINT refuse CHECK (start_offset <> 400) NOT VALID")
    from ingestion import cursor as cursors

    task = cursors.dispatch(partition.cursor, end=600)
    assert task is not None
    assert worker.pipeline.ingest(task) == "unproven"
    with connection.cursor() as sql:
        sql.execute("ALTER TABLE ingestion_batch DROP CONSTRAINT refuse")
    assert partition.cursor.next_offset == 400
    worker.drain(partition, batch_records=200)
    assert picture(partition) == reference
