"""The bridge: looks where the log has more than the cursors, and sends ranges to the workers. It never sees a record.

One thread; every call has a time limit. Each step:

1. Every two seconds list the partitions of all projects' topics (`ingestion.discovery`); every thirty look whether
   the tables lack a day.
2. One query reads all cursors, one request the end offsets of those that wait for records. Raise the alarms
   (`ingestion.alarm`).
3. For every cursor decide from its row alone (`ingestion.dispatch`): nothing, dispatch, end a stuck session first, set a
   record aside, or halt. A cursor below the beginning of its log moves there, with a gap (`ingestion.gaps`).
4. Mark the attempt in the cursor (compare-and-set), then send the task. A lost task is sent again after a while.
5. Wait: for a record when idle, a moment when ranges are in flight. One range per partition is the backpressure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from django.db.models.functions import Now

from ingestion import cursor as cursors
from ingestion import metrics
from ingestion.alarm import BEYOND_END_SECONDS, Alarms, DayAlarm
from ingestion.condition import STALLED_SECONDS
from ingestion.cursor import Dispatch
from ingestion.cursor_lock import held_locks, terminate_backend
from ingestion.discovery import discover
from ingestion.dispatch import Action, Because, Decision, decide
from ingestion.ends import EndReader, Ends
from ingestion.failpoint import failpoint
from ingestion.gaps import record_gap
from ingestion.held_up import remember_held_up
from ingestion.log.base import Log, LogUnavailable
from ingestion.membership import Key, Membership
from ingestion.models import GapReason, HaltReason, PartitionCursor
from ingestion.open_transactions import OPEN_SECONDS, OpenTransactions
from ingestion.proof import build_has_proved_itself, innocents_have_died, too_many_set_aside
from ingestion.suspicion import INNOCENCE_SECONDS, Suspicion, range_end

logger = structlog.get_logger(__name__)

DISCOVERY_SECONDS = 2.0
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
    discovery_seconds: float = DISCOVERY_SECONDS
    stalled_seconds: float = STALLED_SECONDS
    beyond_end_seconds: float = BEYOND_END_SECONDS
    transaction_open_seconds: float = OPEN_SECONDS


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
        self._ends = EndReader(log)
        self._membership = membership
        self._send = send
        self._broker_generation = broker_generation
        self._limits = limits
        self._alarms = Alarms(stalled_seconds=limits.stalled_seconds, beyond_end_seconds=limits.beyond_end_seconds)
        self._days = DayAlarm()
        self._transactions = OpenTransactions(log, open_seconds=limits.transaction_open_seconds)
        self._discovered_at = float("-inf")
        self._generation: str | None = None
        self._active: set[int] = set()
        # The ends that were read since the topics were listed, by cursor; those at work are asked once a second.
        self._seen_ends: dict[int, int] = {}
        # When the lock of an attempt was first seen free, by (cursor, attempt).
        self._free_since: dict[tuple[int, int], float] = {}

    def step(self) -> bool:
        """Serve every partition once and wait; return whether anything was dispatched."""
        self._days.look()
        self._discover()
        failpoint("after_discover")
        rows = self._cursors()
        failpoint("after_cursors")
        try:
            ends = self._look_at_ends(rows)
        except LogUnavailable as error:
            logger.warning("bridge.log_unavailable", error=str(error))
            time.sleep(BUSY_WAIT_SECONDS * 10)
            return False
        failpoint("after_ends")
        self._alarms.look(rows, ends.seen)
        held_up = self._transactions.look(ends.known)
        if held_up is not None:
            remember_held_up(rows, held_up, ends=ends.known)
        dispatched = self._serve(rows, ends.known)
        self._membership.report({_key(row): row.next_offset for row in rows})
        idle = all(_end(row, ends.known) <= row.next_offset for row in rows if not row.halted_reason)
        failpoint("before_wait")
        self._membership.wait(IDLE_WAIT_SECONDS if idle else BUSY_WAIT_SECONDS, ends=ends.known, idle=idle)
        return dispatched

    def close(self) -> None:
        """Leave the group, so that siblings take over at once."""
        self._membership.leave()
        self._log.close()

    def _discover(self) -> None:
        if time.monotonic() - self._discovered_at < self._limits.discovery_seconds:
            return
        self._discovered_at = time.monotonic()
        seen_before, self._seen_ends = self._seen_ends, {}
        try:
            self._active, topics = discover(self._log)
        except LogUnavailable as error:
            logger.warning("bridge.log_unavailable", error=str(error))
            return
        # People see the lag of partitions that stand still without asking the broker. These ends were seen before the
        # topics were listed, so none is of a topic that was recreated: what its gap will say is lost reaches to its own.
        cursors.remember_ends({pk: end for pk, end in seen_before.items() if pk in self._active})
        self._membership.join(topics)

    def _cursors(self) -> list[PartitionCursor]:
        rows = PartitionCursor.objects.filter(pk__in=self._active, closed_at=None).annotate(db_now=Now())
        return list(rows.order_by("topic", "partition"))

    def _look_at_ends(self, rows: Sequence[PartitionCursor]) -> Ends:
        at_work = {_key(row) for row in rows if row.has_open_attempt}
        ends = self._ends.ends([_key(row) for row in rows], at_work=at_work)
        self._seen_ends |= {row.pk: ends.seen[_key(row)] for row in rows if _key(row) in ends.seen}
        return ends

    # --- one partition -----------------------------------------------------------------------------------------------

    def _serve(self, rows: Sequence[PartitionCursor], ends: Mapping[Key, int]) -> bool:
        owned = self._membership.owned()
        free_seconds = self._lock_free_seconds(rows)
        restarted = self._broker_restarted()
        due = []
        for row in rows:
            if _is_served(row, owned):
                decision = self._decide(
                    row, _end(row, ends), free_seconds=free_seconds.get(row.pk), broker_restarted=restarted
                )
                if decision.action is not Action.NOTHING:
                    due.append((row, decision))
        beginnings = self._beginnings([row for row, _ in due])
        results = [
            self._act(row, _end(row, ends), decision, beginning=beginnings.get(_key(row), 0)) for row, decision in due
        ]
        return any(results)

    def _lock_free_seconds(self, rows: Sequence[PartitionCursor]) -> dict[int, float]:
        """Return for how long the locks of started attempts have been seen free; a held one is not in it."""
        started = [row for row in rows if _may_have_died(row)]
        held = held_locks() if started else {}
        free = {(row.pk, row.attempt) for row in started if row.pk not in held}
        now = time.monotonic()
        self._free_since = {key: self._free_since.get(key, now) for key in free}
        return {cursor_id: now - since for (cursor_id, _), since in self._free_since.items()}

    def _decide(
        self, row: PartitionCursor, end: int, *, free_seconds: float | None, broker_restarted: bool
    ) -> Decision:
        return decide(
            row,
            end_offset=end,
            lock_held=free_seconds is None,
            lock_free_seconds=free_seconds or 0.0,
            now=_db_now(row),
            hard_limit_seconds=self._limits.hard_limit_seconds,
            broker_restarted=broker_restarted,
        )

    def _beginnings(self, rows: Sequence[PartitionCursor]) -> Mapping[Key, int]:
        """Return where the logs of these partitions begin; nothing where the log does not tell."""
        try:
            return self._log.beginning_offsets([_key(row) for row in rows]) if rows else {}
        except LogUnavailable as error:
            logger.warning("bridge.log_unavailable", error=str(error))
            return {}

    def _act(self, row: PartitionCursor, end: int, decision: Decision, *, beginning: int) -> bool:
        """Carry a decision out; return whether a range was sent."""
        if row.next_offset < beginning:
            record_gap(row, until=beginning, reason=GapReason.RETENTION)
            return False
        if decision.action is Action.SET_ASIDE:
            decision = _proven(row, decision)
        if decision.action is Action.HALT:
            return self._halt(row, decision)
        if decision.action is Action.TERMINATE_THEN_DISPATCH:
            terminate_backend(row)
        return self._dispatch(row, end, decision)

    def _halt(self, row: PartitionCursor, decision: Decision) -> bool:
        because = decision.halt
        assert because is not None
        reason = f"{because.label}: {decision.detail}offset {row.next_offset}, build {row.build}, signal {row.death_signal or 'unknown'}"
        cursors.halt(cursors.current_attempt(row), because=because, reason=reason)
        return False

    def _dispatch(self, row: PartitionCursor, end: int, decision: Decision) -> bool:
        suspicion = decision.suspicion or Suspicion.of(row)
        until = range_end(
            next_offset=row.next_offset, log_end=end, batch_records=self._limits.batch_records, suspicion=suspicion
        )
        failpoint("before_dispatch")
        condemn = decision.action is Action.SET_ASIDE
        # What nobody has started for seconds has let the others go first for long enough.
        is_behind = until < end and decision.because is not Because.NOT_STARTED
        task = cursors.dispatch(row, end=until, suspicion=suspicion, condemn=condemn, is_behind=is_behind)
        failpoint("after_dispatch")
        if task is None:
            return False
        metrics.BRIDGE_DISPATCHES.labels(decision.because).inc()
        if decision.because is not Because.NEW_RECORDS:
            logger.warning(
                "bridge.dispatch_again", partition=str(row), because=decision.because, attempt=task.attempt,
                start=task.start, end=task.end, death_signal=row.death_signal,
            )  # fmt: skip
        failpoint("before_publish")
        self._send(task)
        failpoint("after_publish")
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


def _key(row: PartitionCursor) -> Key:
    return (row.topic, row.partition)


def _end(row: PartitionCursor, ends: Mapping[Key, int]) -> int:
    """Return where its log ends as far as that is known: an attempt was sent for records that were there."""
    known = ends.get(_key(row), row.next_offset)
    return max(known, row.dispatched_end or 0) if row.has_open_attempt else known


def _may_have_died(row: PartitionCursor) -> bool:
    """Return whether an attempt runs for so long that its lock is worth a look; most end sooner."""
    if row.started_at is None or not row.has_open_attempt:
        return False
    if row.death_signal is not None:
        return True
    return (_db_now(row) - row.started_at).total_seconds() > LOOK_AFTER_SECONDS


def _proven(row: PartitionCursor, decision: Decision) -> Decision:
    """Return what to do about a record that has killed often enough: set it aside only if nothing else may be to blame."""
    if not build_has_proved_itself(row):
        return replace(decision, action=Action.HALT, halt=HaltReason.POISONED_BUILD)
    if row.condemned_offset != row.next_offset and (why := too_many_set_aside(row)):
        return replace(decision, action=Action.HALT, halt=HaltReason.POISONED_BUILD, detail=f"{why}; ")
    assert decision.suspicion is not None
    is_certain = decision.suspicion.is_beyond_doubt or row.condemned_offset == row.next_offset
    if is_certain or not innocents_have_died(within_seconds=INNOCENCE_SECONDS):
        return decision
    if decision.suspicion.is_doubtful:
        return replace(decision, action=Action.HALT, halt=HaltReason.UNEXPLAINED_DEATHS)
    return replace(decision, action=Action.DISPATCH)


def _is_served(row: PartitionCursor, owned: set[Key] | None) -> bool:
    if owned is None or _key(row) in owned:
        return True
    return (_db_now(row) - row.progressed_at).total_seconds() > ORPHAN_SECONDS
