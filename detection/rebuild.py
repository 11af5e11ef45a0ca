"""Rebuild a partition's state from its last checkpoint and the events stored since, with the code that made it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import structlog
from django.conf import settings
from django.db import connection

from detection.checkpoint import read_checkpoint
from detection.config import config_of_version
from detection.fold import PartitionState, Rows
from detection.series import StateVersionError
from detection.verdict import SeriesKey
from ingestion.models import Batch

logger = structlog.get_logger(__name__)

# Events held in memory at a time.
GROUP_ROWS = 20_000
# Where a checkpoint is of other code, so much of the log is learned anew: 1,000 samples of quite rare series.
RELEARNED_OFFSETS = 500_000

_EVENTS = """
    SELECT log_offset, project_id, service, model, latency_ms, total_tokens, cost_usd, scored FROM events
    WHERE cursor_id = %s AND log_offset >= %s AND log_offset < %s {and_ingested} ORDER BY log_offset
"""
# The index on it finds the rows of a few batches among those of all partitions.
_INGESTED = "AND ingested_at BETWEEN %s AND %s"
# A batch's transaction starts after the one before it has ended, but for the time between BEGIN and its lock.
_OVERLAP = timedelta(seconds=5)


class EventsMissing(Exception):
    """Stored events that the baselines need are gone: scoring on would not give what an undisturbed run gives."""


class _Part(NamedTuple):
    """A committed batch; its events were ingested from `earliest` to `latest`."""

    start: int
    end: int
    stored: int
    config_version: int
    earliest: datetime
    latest: datetime


def rebuild(cursor_id: int) -> PartitionState:
    """Return the state after the cursor's last batch. Runs in the caller's transaction, which has locked the cursor.

    Raises `EventsMissing` where a batch since the checkpoint has fewer rows than it stored, and `UnknownConfig`.
    """
    try:
        state, strict = read_checkpoint(cursor_id), True
    except StateVersionError as error:
        state, strict = PartitionState(next_offset=_relearn_from(cursor_id)), False
        logger.warning("baselines.relearned", cursor=cursor_id, reason=str(error), from_offset=state.next_offset)
    first = state.next_offset
    for parts in _groups(_parts(cursor_id, first)):
        _advance(state, cursor_id, parts, strict=strict)
    # Both were reported by the batches that found them.
    state.take_shifts()
    state.take_refused()
    logger.info("baselines.rebuilt", cursor=cursor_id, from_offset=first, to_offset=state.next_offset)
    return state


def _relearn_from(cursor_id: int) -> int:
    last = Batch.objects.filter(cursor_id=cursor_id).order_by("-start_offset").first()
    end = last.end_offset if last else 0
    first = Batch.objects.filter(cursor_id=cursor_id, start_offset__gte=end - RELEARNED_OFFSETS)
    offset = first.order_by("start_offset").values_list("start_offset", flat=True).first()
    return end if offset is None else int(offset)


def _parts(cursor_id: int, offset: int) -> Iterator[_Part]:
    rows = Batch.objects.filter(cursor_id=cursor_id, start_offset__gte=offset).order_by("start_offset")
    longest = timedelta(seconds=2 * settings.SENTINEL_TASK_TIME_LIMIT_SECONDS)
    previous = datetime.min.replace(tzinfo=UTC) + _OVERLAP
    for row in rows.iterator():
        earliest = max(previous - _OVERLAP, row.created_at - longest)
        yield _Part(row.start_offset, row.end_offset, row.stored, row.config_version, earliest, row.created_at)
        previous = row.created_at


def _groups(parts: Iterator[_Part]) -> Iterator[list[_Part]]:
    """Yield consecutive batches that were scored with one configuration and fit into memory together."""
    for _, same in groupby(parts, key=lambda part: part.config_version):
        group: list[_Part] = []
        rows = 0
        for part in same:
            if group and rows + part.stored > GROUP_ROWS:
                yield group
                group, rows = [], 0
            group.append(part)
            rows += part.stored
        yield group


def _advance(state: PartitionState, cursor_id: int, parts: Sequence[_Part], *, strict: bool) -> None:
    times = (min(part.earliest for part in parts), max(part.latest for part in parts))
    found = _events(cursor_id, parts, times)
    if _missing(parts, found):
        # A clock that was set back would look the same.
        found = _events(cursor_id, parts, None)
    missing = _missing(parts, found)
    if missing and strict:
        raise EventsMissing(f"cursor {cursor_id}: {missing}; the baselines cannot be rebuilt")
    rows = _rows([row for row in found if row[-1]])
    state.advance(rows, end_offset=parts[-1].end, profile=config_of_version(parts[0].config_version).profile)


def _events(cursor_id: int, parts: Sequence[_Part], times: tuple[datetime, datetime] | None) -> list[tuple[Any, ...]]:
    with connection.cursor() as sql:
        sql.execute(
            _EVENTS.format(and_ingested=_INGESTED if times else ""),
            [cursor_id, parts[0].start, parts[-1].end, *(times or ())],
        )
        rows: list[tuple[Any, ...]] = sql.fetchall()
    return rows


def _missing(parts: Sequence[_Part], found: Sequence[tuple[Any, ...]]) -> str:
    """Say which batch has other rows than it stored; empty where none has."""
    offsets = np.array([row[0] for row in found], dtype=np.int64)
    for part in parts:
        first, last = np.searchsorted(offsets, [part.start, part.end]).tolist()
        if last - first != part.stored:
            return f"the batch from offset {part.start} stored {part.stored} events, {last - first} are there"
    return ""


def _rows(found: Sequence[tuple[Any, ...]]) -> Rows:
    keys: dict[SeriesKey, int] = {}
    series = [keys.setdefault((row[1], row[2], row[3]), len(keys)) for row in found]
    return Rows(
        offset=np.array([row[0] for row in found], dtype=np.int64),
        series=np.array(series, dtype=np.int32),
        series_keys=list(keys),
        # None, unknown, becomes NaN.
        values=np.array([row[4:7] for row in found], dtype=np.float64).reshape(len(found), 3),
    )
