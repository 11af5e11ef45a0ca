"""The bridge: looks where the log has more than the cursors, and sends ranges to the workers. It never sees a record.

One thread; every call has a time limit. Each step:

1. Every five seconds list the partitions of all projects' topics, and give new ones a cursor at the log's start.
2. One query reads all cursors, one request all end offsets.
3. For every cursor decide from its row alone (`ingestion.dispatch`): nothing, dispatch, or end a stuck session first.
4. Mark the attempt in the cursor (compare-and-set), then send the task. A lost task is sent again after a while.
5. Wait: for a record when idle, a moment when ranges are in flight. One range per partition is the backpressure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog
from django.db.models.functions import Now

from ingestion import cursor as cursors
from ingestion import metrics
from ingestion.cursor import Dispatch
from ingestion.dispatch import Action, Because, decide
from ingestion.log.base import Log, LogUnavailable, PartitionId
from ingestion.membership import Key, Membership
from ingestion.models import PartitionCursor, Topic

logger = structlog.get_logger(__name__)

DISCOVERY_SECONDS = 5.0
BUSY_WAIT_SECONDS = 0.05
IDLE_WAIT_SECONDS = 0.5
# A partition whose owner makes no progress is served by every bridge.
ORPHAN_SECONDS = 3.0
LOOK_AFTER_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class BridgeLimits:
    """How much one range holds and how long an attempt may hold its lock."""

    batch_records: int
    hard_limit_seconds: float


class Bridge:
    """Call `step` until told to stop, then `close`.

    `send` hands a range to the workers and may raise nothing: what it cannot send is sent again later.
    `broker_generation` names the run of the task broker; when it changes, queued tasks may be gone.
    """

    def __init__(
        self,
        *,
        log: Log,
        membership: Membership,
        send: Callable[[Dispatch], None],
        broker_generation: Callable[[], str | None],
        limits: BridgeLimits,
    ) -> None:
        self._log = log
        self._membership = membership
        self._send = send
        self._broker_generation = broker_generation
        self._limits = limits
        self._discovered_at = float("-inf")
        self._generation: str | None = None
        self._active: set[int] = set()

    def step(self) -> bool:
        """Serve every partition once and wait; return whether anything was dispatched."""
        self._discover()
        rows = self._cursors()
        try:
            ends = self._log.end_offsets([(row.topic, row.partition) for row in rows]) if rows else {}
        except LogUnavailable as error:
            metrics.KAFKA_CONSUMPTION_ERRORS.inc()
            logger.warning("bridge.log_unavailable", error=str(error))
            time.sleep(BUSY_WAIT_SECONDS * 10)
            return False
        dispatched = self._serve(rows, ends)
        self._membership.report({(row.topic, row.partition): row.next_offset for row in rows})
        waiting = [row for row in rows if not row.halted_reason]
        idle = all(ends.get((row.topic, row.partition), 0) <= row.next_offset for row in waiting)
        self._membership.wait(IDLE_WAIT_SECONDS if idle else BUSY_WAIT_SECONDS, ends=ends, idle=idle)
        return dispatched

    def close(self) -> None:
        """Leave the group, so that siblings take over at once."""
        self._membership.leave()
        self._log.close()

    def _discover(self) -> None:
        if time.monotonic() - self._discovered_at < DISCOVERY_SECONDS:
            return
        self._discovered_at = time.monotonic()
        projects = dict(Topic.objects.values_list("name", "project_id"))
        try:
            found = self._log.partitions(projects)
            self._active = {self._cursor_id(item, projects[item.topic]) for item in found}
        except LogUnavailable as error:
            logger.warning("bridge.log_unavailable", error=str(error))
            return
        self._membership.join({item.topic for item in found})

    def _cursor_id(self, item: PartitionId, project_id: int) -> int:
        known = PartitionCursor.objects.filter(
            cluster_id=item.cluster_id, topic_id=item.topic_id, partition=item.partition
        ).values_list("pk", flat=True)
        if known:
            return known[0]
        key = (item.topic, item.partition)
        # A first start reads from the beginning of the topic; afterwards the cursor rules.
        beginning = self._log.beginning_offsets([key]).get(key, 0)
        row, created = PartitionCursor.objects.get_or_create(
            cluster_id=item.cluster_id,
            topic_id=item.topic_id,
            partition=item.partition,
            defaults={"topic": item.topic, "project_id": project_id, "next_offset": beginning},
        )
        if created:
            logger.info("bridge.new_partition", topic=item.topic, partition=item.partition, offset=beginning)
        return row.pk

    def _cursors(self) -> list[PartitionCursor]:
        rows = PartitionCursor.objects.filter(pk__in=self._active).annotate(db_now=Now())
        return list(rows.order_by("topic", "partition"))

    def _serve(self, rows: list[PartitionCursor], ends: Mapping[Key, int]) -> bool:
        owned = self._membership.owned()
        alive = cursors.held_locks() if any(map(_may_have_died, rows)) else None
        restarted = self._broker_restarted()
        dispatched = False
        for row in rows:
            end = ends.get((row.topic, row.partition), row.next_offset)
            metrics.PARTITION_LAG.labels(row.topic, row.partition).set(max(0, end - row.next_offset))
            if _is_served(row, owned):
                dispatched |= self._serve_one(
                    row, end, lock_held=alive is None or row.pk in alive, broker_restarted=restarted
                )
        metrics.PARTITIONS_HALTED.set(sum(bool(row.halted_reason) for row in rows))
        return dispatched

    def _serve_one(self, row: PartitionCursor, end: int, *, lock_held: bool, broker_restarted: bool) -> bool:
        decision = decide(
            row,
            end_offset=end,
            lock_held=lock_held,
            now=_db_now(row),
            hard_limit_seconds=self._limits.hard_limit_seconds,
            broker_restarted=broker_restarted,
        )
        if decision.action is Action.NOTHING:
            return False
        if decision.action is Action.TERMINATE_THEN_DISPATCH:
            cursors.terminate_backend(row)
        task = cursors.dispatch(row, end=min(end, row.next_offset + self._limits.batch_records))
        if task is None:
            return False
        metrics.BRIDGE_DISPATCHES.labels(decision.because).inc()
        if decision.because is not Because.NEW_RECORDS:
            logger.warning("bridge.dispatch_again", partition=str(row), because=decision.because, attempt=task.attempt)
        self._send(task)
        return True

    def _broker_restarted(self) -> bool:
        generation = self._broker_generation()
        if generation is None:
            return False
        restarted = self._generation is not None and generation != self._generation
        self._generation = generation
        return restarted


def _db_now(row: PartitionCursor) -> datetime:
    now: datetime = row.db_now  # type: ignore[attr-defined]  # annotated by the query
    return now


def _may_have_died(row: PartitionCursor) -> bool:
    """Return whether an attempt runs for so long that its lock is worth a look; most end sooner."""
    if row.started_at is None or row.ended_attempt >= row.attempt:
        return False
    return (_db_now(row) - row.started_at).total_seconds() > LOOK_AFTER_SECONDS


def _is_served(row: PartitionCursor, owned: set[Key] | None) -> bool:
    if owned is None or (row.topic, row.partition) in owned:
        return True
    return (_db_now(row) - row.progressed_at).total_seconds() > ORPHAN_SECONDS
