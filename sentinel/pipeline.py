"""The ingest pipeline: how a range of the log gets into the database, from the lock to the next range.

`Pipeline.ingest` runs one attempt on one range:

1. Take the cursor's session lock and mark the attempt as started; an older attempt quits here.
2. Outside any transaction (`sentinel.prepare`): read and compare the anchor, decode and validate, scrub.
3. One transaction (`sentinel.commit`): lock the cursor's row, which must still stand at `start`; then everything in
   the order of `sentinel.write`: events, late events, verdicts and anomalies, outbox, roll-ups, dead letters, the batch
   row, a checkpoint, the cursor; COMMIT.
4. Publish the state to Redis, release the lock, send the next range.

Where a record breaks a stage, the range is taken in parts, still under the lock (`sentinel.bisection`). Whatever else
fails leaves the cursor where it was, so that the range is ingested again, by anyone, with the same result.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from functools import cache, partial

from alerting.rules import load_rules
from detection.baselines import BaselineStore
from detection.config import current_config
from ingestion import cursor as cursors
from ingestion.bad_deploy import BuildWatch
from ingestion.clock import database_now
from ingestion.cursor import Dispatch
from ingestion.cursor_lock import holding_lock
from ingestion.failpoint import failpoint
from ingestion.lateness import AttachedDays, split_late
from ingestion.log.base import Log
from ingestion.log.configured import open_log
from ingestion.models import PartitionCursor
from ingestion.models.cursor import Phase
from ingestion.partitions import PartitionMissing
from ingestion.proof import build_has_proved_itself, too_many_set_aside
from ingestion.quota import RejectQuota
from ingestion.series import SeriesIds
from sentinel import attempt
from sentinel.bisection import Bisection, Part, PoisonedBuild, StageFailed
from sentinel.build import build_id
from sentinel.commit import commit
from sentinel.ingested import Committed, Prepared, count_committed
from sentinel.outcome import Outcome
from sentinel.prepare import prepare
from sentinel.stage import set_aside_for, stage
from sentinel.write import Work

# After so long a task that takes a range in parts hands the rest over: it must end well before its time limit.
PARTS_SECONDS = 15.0


class Pipeline:
    """One worker process: made after the fork, used by one thread. `build` is what its batches are signed with."""

    def __init__(
        self, *, log: Log, baselines: BaselineStore, send: Callable[[Dispatch], None], build: str | None = None
    ) -> None:
        self._log = log
        self._baselines = baselines
        self._send = send
        self._build = build or build_id()
        self._watch = BuildWatch(self._build)
        self._quota = RejectQuota()
        self._series = SeriesIds()
        self._days = AttachedDays()

    def close(self) -> None:
        """Release the log's connections."""
        self._log.close()

    def ingest(self, task: Dispatch) -> Outcome:
        """Run one attempt; never raises for anything that a later attempt may survive."""
        began_at = time.monotonic()
        failpoint("before_lock")
        with holding_lock(task.cursor_id) as held:
            if not held:
                cursors.end_attempt(task, error=cursors.BUSY, retry_seconds=cursors.BUSY_RETRY_SECONDS)
                return Outcome.BUSY
            failpoint("after_lock")
            outcome, next_task = self._locked(task, began_at=began_at)
            failpoint("before_unlock")
        if next_task is not None:
            failpoint("before_send")
            self._send(next_task)
            failpoint("after_send")
        return outcome

    def _locked(self, task: Dispatch, *, began_at: float) -> tuple[Outcome, Dispatch | None]:
        """Ingest the range, or as much of it as one task may; return what to send next."""
        cursor = cursors.start_attempt(task, build=self._build)
        if cursor is None:
            return Outcome.STALE, None
        search = Bisection(task.start, task.end, condemned=attempt.condemnation(cursor))
        deadline = time.monotonic() + PARTS_SECONDS
        while True:
            failpoint("after_start")
            try:
                committed = self._searched(cursor, task, search)
            except Exception as error:  # noqa: BLE001  # The process loop: one range must not stop the other partitions.
                self._baselines.forget(task.cursor_id)
                return attempt.ended(task, error, began_at=began_at), None
            next_task = committed.next_task
            goes_on = search.committed(committed.next_offset, stored=committed.counts.stored)
            if next_task is None or not goes_on or committed.lost_lock or time.monotonic() > deadline:
                return Outcome.COMMITTED, next_task
            # The next range is handed over to ourselves: the lock is held, and the record not found yet.
            task, cursor = next_task, cursors.start_attempt(next_task, build=self._build)
            if cursor is None:
                return Outcome.STALE, None

    def _searched(self, cursor: PartitionCursor, task: Dispatch, search: Bisection) -> Committed:
        """Commit the first part on which no stage breaks; the others teach the search."""
        suspected_at: datetime | None = None
        while True:
            part = search.next_part()
            try:
                return self._part(cursor, task, part)
            except StageFailed as error:
                failed = error
            self._baselines.forget(cursor.pk)
            suspected_at = suspected_at or self._suspected_at(cursor)
            because = set_aside_for(failed)
            attempt.log_broken(task, part, because)
            if not search.broke(part, because, is_proven=partial(build_has_proved_itself, cursor, since=suspected_at)):
                raise failed.error
            search.check_hope(attempts=cursor.dispatches)
            if search.pending > len(part.aside) and (why := too_many_set_aside(cursor, more=search.pending)):
                raise PoisonedBuild(f"{why}: {because.message}")

    def _suspected_at(self, cursor: PartitionCursor) -> datetime:
        """Return since when the range breaks a stage: what others stored before proves nothing about the build now."""
        if cursor.last_error.startswith(cursors.UNPROVEN) and cursor.range_since is not None:
            return cursor.range_since
        return database_now()

    # --- one part of a range, by default all of it -------------------------------------------------------------------

    def _part(self, cursor: PartitionCursor, task: Dispatch, part: Part) -> Committed:
        prepared = prepare(self._log, cursor, task, part, quota=self._quota)
        self._watch.check(cursor, prepared.rejects)
        cursors.mark_phase(task, Phase.STORE)
        with stage(Phase.STORE):
            committed = self._committed(cursor, task, part, prepared)
        failpoint("after_commit")
        failpoint("before_redis")
        self._baselines.publish(
            committed.state,
            cursor_id=cursor.pk,
            previous_stamp=committed.previous_stamp,
            stamp=committed.stamp,
        )
        failpoint("after_redis")
        count_committed(cursor, prepared, committed)
        return committed

    def _committed(self, cursor: PartitionCursor, task: Dispatch, part: Part, prepared: Prepared) -> Committed:
        try:
            return commit(self._work(cursor, task, prepared), self._baselines, needs_proof=part.needs_proof)
        except PartitionMissing:
            # A day was dropped since we looked: decide once more what is late.
            self._baselines.forget(cursor.pk)
            self._days.refresh()
            return commit(self._work(cursor, task, prepared), self._baselines, needs_proof=part.needs_proof)

    def _work(self, cursor: PartitionCursor, task: Dispatch, prepared: Prepared) -> Work:
        """Look up what the transaction needs: nobody waits for these queries while the cursor's row is locked."""
        timely = split_late(prepared.events, retention_seconds=cursor.project.retention_days * 86_400, days=self._days)
        series_ids = self._series.of(prepared.events.take(timely.storable).series_keys)
        # Kept for a few seconds.
        load_rules([cursor.project_id])
        current_config(cursor.project_id)
        return Work(
            cursor=cursor, task=task, prepared=prepared, timely=timely, series_ids=series_ids, build=self._build
        )


@cache
def pipeline() -> Pipeline:
    """Return this worker process's pipeline; called after the fork."""
    from sentinel.hints import send_range

    return Pipeline(log=open_log(), baselines=BaselineStore(), send=send_range)
