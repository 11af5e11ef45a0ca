"""Checkpoints of baselines in Postgres, and the way back from them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from django.db import connection
from django.db.models import Max
from psycopg2 import Binary
from psycopg2.extras import execute_values

from detection.detectors.base import Floats
from detection.fold import PartitionState
from detection.models import Baseline
from detection.verdict import SeriesKey
from ingestion.models import Series

_UPSERT = """
    INSERT INTO detection_baseline (cursor_id, series_id, batch_id, next_offset, state, summary) VALUES %s
    ON CONFLICT (cursor_id, series_id) DO UPDATE SET batch_id = excluded.batch_id, next_offset = excluded.next_offset,
        state = excluded.state, summary = excluded.summary, updated_at = now()
"""


def write_checkpoint(
    state: PartitionState,
    keys: Collection[SeriesKey],
    *,
    cursor_id: int,
    batch_id: int,
    series_ids: Mapping[SeriesKey, int],
) -> None:
    """Write the state of these series inside the caller's transaction; `series_ids` may lack some of them.

    They must be all that have rows since the last checkpoint, so that all rows of the cursor stand for one offset.
    """
    ids = {**_found({key for key in keys if key not in series_ids}), **series_ids}
    rows = [
        (
            cursor_id,
            ids[key],
            batch_id,
            state.next_offset,
            Binary(state.encode(key)),
            json.dumps(summarise(state.learned(key))),
        )
        for key in sorted(keys)
    ]
    with connection.cursor() as sql, connection.wrap_database_errors:
        execute_values(sql.cursor, _UPSERT, rows, page_size=50)


def read_checkpoint(cursor_id: int) -> PartitionState:
    """Return the state at the last checkpoint, an empty one at offset 0 where there is none.

    Raises `StateVersionError` where other code wrote it.
    """
    rows = Baseline.objects.filter(cursor_id=cursor_id).values_list(
        "series__project_id", "series__service", "series__model", "next_offset", "state"
    )
    encoded: dict[SeriesKey, bytes] = {}
    next_offset = 0
    for project_id, service, model, offset, state in rows:
        encoded[project_id, service, model] = bytes(state)
        next_offset = max(next_offset, offset)
    return PartitionState.decode(encoded, next_offset=next_offset)


def checkpoint_offset(cursor_id: int) -> int:
    """Return the offset that the last checkpoint stands for, 0 before any."""
    return Baseline.objects.filter(cursor_id=cursor_id).aggregate(offset=Max("next_offset"))["offset"] or 0


def checkpoint_offsets() -> dict[int, int]:
    """Return the offset that the last checkpoint of each cursor stands for: only events from there on are still needed."""
    rows = Baseline.objects.order_by("cursor_id").values_list("cursor_id").annotate(offset=Max("next_offset"))
    return dict(rows)


def summarise(windows: Mapping[str, Floats]) -> dict[str, dict[str, Any]]:
    """Return what the API shows of each metric that has values, in its unit."""
    return {metric: _summary(values) for metric, values in windows.items() if len(values)}


def _summary(values: Floats) -> dict[str, Any]:
    median, p95, p99 = np.percentile(values, [50, 95, 99]).tolist()
    return {
        "samples": len(values),
        "mean": float(values.mean()),
        "stddev": float(values.std()),
        "median": median,
        "p95": p95,
        "p99": p99,
        "min": float(values.min()),
        "max": float(values.max()),
    }


def _found(keys: Collection[SeriesKey]) -> dict[SeriesKey, int]:
    """Return the ids of series that have no event in this batch: earlier batches made them."""
    if not keys:
        return {}
    projects = {project_id for project_id, _, _ in keys}
    rows = Series.objects.filter(project_id__in=projects).values_list("project_id", "service", "model", "id")
    return {(project, service, model): pk for project, service, model, pk in rows if (project, service, model) in keys}
