"""Where the state of a partition lives between batches: this process, Redis, Postgres; in this order.

A batch takes the state with `load`, advances it, lets `checkpoint` decide whether the rows in Postgres are due, and
gives it back with `publish` once it has committed. The stamp of the last `Batch` row says whether a copy is the right
one: an offset is none, since after a restore another timeline may have reached it, nor is an id alone.
"""

from __future__ import annotations

import enum
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import redis
import structlog
from django.conf import settings
from django.db import connection, transaction

from detection import metrics
from detection.cache import BaselineCache, Checkpoint, Written, connect
from detection.checkpoint import checkpoint_offset, write_checkpoint
from detection.config import UnknownConfig
from detection.fold import PartitionState
from detection.rebuild import EventsMissing, rebuild
from detection.verdict import SeriesKey
from ingestion.batches import BatchStamp
from ingestion.metrics import CACHE_HITS, CACHE_MISSES
from ingestion.models import Batch, PartitionCursor

logger = structlog.get_logger(__name__)

# A partition of 60 series takes about 2 MB.
MAX_PARTITIONS_IN_MEMORY = 32


class Source(enum.StrEnum):
    """Where a state came from; a label of `sentinel_baseline_loads_total`."""

    MEMORY = "memory"
    REDIS = "redis"
    REBUILT = "rebuilt"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class _Kept:
    stamp: BatchStamp
    state: PartitionState
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class _Taken:
    """A state that a transaction is working on."""

    loaded_offset: int
    checkpoint: Checkpoint


class BaselineStore:
    """One per worker process, made after the fork, used by one thread."""

    def __init__(self, redis_client: redis.Redis | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._cache = BaselineCache(redis_client or connect())
        self._clock = clock
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._taken: dict[int, _Taken] = {}

    def load(self, cursor_id: int, *, start: int, last_stamp: BatchStamp | None) -> PartitionState:
        """Return the state after the batch of `last_stamp`, which ended at `start` or, before a gap, below it.

        The caller's transaction holds the cursor's row. May rebuild from stored events, which takes about 2 s per
        100,000 since the last checkpoint; raises `rebuild.EventsMissing` where that cannot be done.
        """
        state, checkpoint, source = self._found(cursor_id, start, last_stamp)
        metrics.BASELINE_LOADS.labels(source.value).inc()
        if source in {Source.MEMORY, Source.REDIS}:
            CACHE_HITS.inc()
        elif source is Source.REBUILT:
            CACHE_MISSES.inc()
        self._taken[cursor_id] = _Taken(state.next_offset, checkpoint)
        return state

    def _found(
        self, cursor_id: int, start: int, last_stamp: BatchStamp | None
    ) -> tuple[PartitionState, Checkpoint, Source]:
        kept = self._kept.pop(cursor_id, None)
        if last_stamp is None:
            return PartitionState(next_offset=start), Checkpoint(start), Source.NEW
        if kept is not None and kept.stamp == last_stamp:
            return kept.state, kept.checkpoint, Source.MEMORY
        cached = self._cache.read(cursor_id, stamp=last_stamp)
        if cached is not None:
            return cached.state, cached.checkpoint, Source.REDIS
        # A checkpoint is due at once: whatever took the copies may happen again.
        return rebuild(cursor_id), Checkpoint(checkpoint_offset(cursor_id)), Source.REBUILT

    def forget(self, cursor_id: int) -> None:
        """Drop what this process holds, after a transaction that failed: its state was advanced in place."""
        self._kept.pop(cursor_id, None)
        self._taken.pop(cursor_id, None)

    def checkpoint(
        self,
        state: PartitionState,
        *,
        cursor_id: int,
        batch_id: int,
        series_ids: Mapping[SeriesKey, int],
        force: bool = False,
    ) -> bool:
        """Write a checkpoint inside the caller's transaction if it is due or forced; return whether it was."""
        taken = self._taken[cursor_id]
        now = self._clock()
        at = taken.checkpoint.at
        # One from the future is the work of a clock that was wrong.
        if not force and at is not None and 0 <= now - at < settings.SENTINEL_CHECKPOINT_SECONDS:
            return False
        keys = state.touched_since(taken.checkpoint.offset)
        if keys:
            write_checkpoint(state, keys, cursor_id=cursor_id, batch_id=batch_id, series_ids=series_ids)
            self._taken[cursor_id] = _Taken(taken.loaded_offset, Checkpoint(state.next_offset, now))
        return bool(keys)

    def publish(
        self, state: PartitionState, *, cursor_id: int, previous_stamp: BatchStamp | None, stamp: BatchStamp
    ) -> Written:
        """Keep the state for the next batch, here and in Redis. Call after COMMIT; never raises because of Redis."""
        taken = self._taken.pop(cursor_id)
        self._kept[cursor_id] = _Kept(stamp, state, taken.checkpoint)
        while len(self._kept) > MAX_PARTITIONS_IN_MEMORY:
            self._kept.popitem(last=False)
        written = self._cache.write(
            state,
            cursor_id=cursor_id,
            checkpoint=taken.checkpoint,
            since_offset=taken.loaded_offset,
            previous_stamp=previous_stamp,
            stamp=stamp,
        )
        metrics.BASELINE_CACHE_WRITES.labels(written.value).inc()
        metrics.SERIES_REFUSED.inc(state.take_refused())
        return written

    def checkpoint_idle(self, *, idle_seconds: float) -> int:
        """Checkpoint partitions that have not moved for so long; return how many. For beat.

        Afterwards events may be erased or their day dropped: nothing needs them for a rebuild. A partition whose row is
        locked is at work, and left alone.
        """
        written = 0
        for cursor_id in PartitionCursor.objects.order_by("pk").values_list("pk", flat=True):
            try:
                with transaction.atomic():
                    written += self._checkpoint_if_idle(cursor_id, idle_seconds)
            except (EventsMissing, UnknownConfig) as error:
                # Its worker halts on the same; the other partitions must not go without.
                logger.warning("baselines.not_checkpointed", cursor=cursor_id, reason=str(error))
            self.forget(cursor_id)
        return written

    def _checkpoint_if_idle(self, cursor_id: int, idle_seconds: float) -> bool:
        if not _locked(cursor_id):
            return False
        batches = Batch.objects.filter(cursor_id=cursor_id)
        last = batches.order_by("-start_offset").first()
        if last is None or last.created_at.timestamp() > self._clock() - idle_seconds:
            return False
        if not batches.filter(start_offset__gte=checkpoint_offset(cursor_id), stored__gt=0).exists():
            return False
        state = self.load(cursor_id, start=last.end_offset, last_stamp=BatchStamp.of(last))
        return self.checkpoint(state, cursor_id=cursor_id, batch_id=last.pk, series_ids={}, force=True)


def _locked(cursor_id: int) -> bool:
    with connection.cursor() as sql:
        sql.execute("SELECT 1 FROM ingestion_partitioncursor WHERE id = %s FOR UPDATE SKIP LOCKED", [cursor_id])
        return sql.fetchone() is not None
