"""The ingest pipeline: the one place that knows all stages and their order.

`Pipeline.ingest` runs one attempt on one range of the log:

1. Take the cursor's session lock and mark the attempt as started; an older attempt quits here.
2. Outside any transaction: read (and compare the anchor), decode and validate, scrub.
3. One transaction: lock the cursor's row, which must still stand at `start`; store what is new; late events; score
   and learn the new events; anomalies, outbox, roll-ups, dead letters, the batch row, the cursor; COMMIT.
4. Publish the state to Redis, release the lock, send the next range.

Whatever fails leaves the cursor where it was, so that the range is ingested again, by anyone, with the same result.
Everybody locks in the order cursor, events, anomalies, outbox, roll-ups.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache

import structlog
from django.conf import settings
from django.db import connection, transaction

from alerting.from_anomalies import enqueue_alerts
from alerting.rules import load_rules
from detection import metrics as detection_metrics
from detection.baselines import BaselineStore
from detection.config import Config, UnknownConfig, current_config
from detection.detect import AnomalyRow, anomaly_rows, insert_anomalies, insert_shifts, rows_of
from detection.fold import PartitionState
from detection.rebuild import EventsMissing
from ingestion import cursor as cursors
from ingestion import metrics
from ingestion.batches import write_batch
from ingestion.cursor import Dispatch
from ingestion.dead_letters import RejectedRecord, store_dead_letters
from ingestion.decode import Decoded, decode_records
from ingestion.event_batch import EventBatch, SeriesKey
from ingestion.failpoint import failpoint
from ingestion.late_events import store_late_events
from ingestion.lateness import AttachedDays, Timely, advance_watermark, split_late
from ingestion.limits import Limits
from ingestion.log.base import Chunk, Log, LogUnavailable
from ingestion.log.configured import open_log
from ingestion.models import HaltReason, PartitionCursor, Project
from ingestion.models.cursor import Phase
from ingestion.project_scrubber import project_scrubber
from ingestion.read import LastBatch, LogReplaced, last_batch, read_range
from ingestion.rollup import add_to_rollups
from ingestion.scrub.events import scrub_events
from ingestion.scrub.payload import scrub_bytes
from ingestion.scrubbed_header import joined, read_scrubbed
from ingestion.series import SeriesIds
from ingestion.store import STAGED_BATCHES_AFTER_DUPLICATE, PartitionMissing, store_events
from sentinel.build import build_id
from sentinel.hints import send_range
from sentinel.ingested import Committed, Prepared, count_committed, counts_of
from sentinel.outcome import Outcome, described, outcome_of

logger = structlog.get_logger(__name__)


_HALTS: Mapping[type[Exception], HaltReason] = {
    LogReplaced: HaltReason.LOG_REPLACED,
    EventsMissing: HaltReason.EVENTS_MISSING,
    UnknownConfig: HaltReason.CONFIG_MISSING,
}


class Overtaken(Exception):
    """The cursor no longer stands where this attempt started: somebody else has committed the range."""


class Pipeline:
    """One worker process: made after the fork, used by one thread."""

    def __init__(self, *, log: Log, baselines: BaselineStore, send: Callable[[Dispatch], None]) -> None:
        self._log = log
        self._baselines = baselines
        self._send = send
        self._series = SeriesIds()
        self._days = AttachedDays()

    def close(self) -> None:
        """Release the log's connections."""
        self._log.close()

    def ingest(self, task: Dispatch) -> Outcome:
        """Run one attempt; never raises for anything that a later attempt may survive."""
        failpoint("before_lock")
        with cursors.holding_lock(task.cursor_id) as held:
            if not held:
                cursors.end_attempt(task, error="busy", retry_seconds=cursors.BUSY_RETRY_SECONDS)
                return Outcome.BUSY
            failpoint("after_lock")
            cursor = cursors.start_attempt(task, build=build_id())
            if cursor is None:
                return Outcome.STALE
            failpoint("after_start")
            outcome, next_task = self._guarded(cursor, task)
            failpoint("before_unlock")
        if next_task is not None:
            failpoint("before_send")
            self._send(next_task)
            failpoint("after_send")
        return outcome

    def _guarded(self, cursor: PartitionCursor, task: Dispatch) -> tuple[Outcome, Dispatch | None]:
        try:
            return Outcome.COMMITTED, self._attempt(cursor, task)
        except Overtaken:
            return Outcome.STALE, None
        except (LogReplaced, EventsMissing, UnknownConfig) as error:
            self._baselines.forget(task.cursor_id)
            cursors.halt(task, because=_HALTS[type(error)], reason=str(error))
            outcome = Outcome.HALTED
        except Exception as error:  # noqa: BLE001  # The process loop: one range must not stop the other partitions.
            outcome = self._failed(task, error)
        metrics.INGESTION_ERRORS.labels(outcome).inc()
        return outcome, None

    def _failed(self, task: Dispatch, error: Exception) -> Outcome:
        """Forget what the attempt changed in memory and record why it ended."""
        self._baselines.forget(task.cursor_id)
        outcome = outcome_of(error)
        if outcome is Outcome.DATABASE:
            metrics.STORAGE_ERRORS.labels(type(error).__name__).inc()
        logger.warning(
            "ingest.attempt_failed",
            cursor=task.cursor_id,
            start=task.start,
            outcome=outcome,
            error=described(error),
            # Where, but not what: an exception's message may quote an event.
            stack="".join(traceback.format_tb(error.__traceback__)) if outcome is Outcome.UNEXPECTED else None,
        )
        if not connection.is_usable():
            connection.close()
        cursors.end_attempt(task, error=f"{outcome}: {described(error)}")
        return outcome

    # --- one attempt -------------------------------------------------------------------------------------------------

    def _attempt(self, cursor: PartitionCursor, task: Dispatch) -> Dispatch | None:
        prepared = self._prepare(cursor, task)
        cursors.mark_phase(task, Phase.STORE)
        with _timed("store"):
            try:
                committed = self._commit(cursor, task, prepared)
            except PartitionMissing:
                # A day was dropped since we looked: decide once more what is late.
                self._baselines.forget(task.cursor_id)
                self._days.refresh()
                committed = self._commit(cursor, task, prepared)
        failpoint("before_redis")
        self._baselines.publish(
            committed.state,
            cursor_id=cursor.pk,
            previous_batch_id=committed.previous_batch_id,
            batch_id=committed.batch_id,
        )
        failpoint("after_redis")
        count_committed(cursor, prepared, committed)
        return committed.next_task

    def _prepare(self, cursor: PartitionCursor, task: Dispatch) -> Prepared:
        project = cursor.project
        last = last_batch(cursor)
        with _timed("read"):
            chunk = read_range(
                self._log,
                cursor,
                task.end,
                anchor=last.anchor if last else None,
                max_bytes=settings.SENTINEL_BATCH_BYTES,
            )
        failpoint("after_read")
        if chunk.next_offset <= task.start:
            raise LogUnavailable(f"{cursor} holds nothing readable at offset {task.start}")
        cursors.mark_phase(task, Phase.DECODE)
        with _timed("decode"):
            decoded = decode_records(
                chunk.records,
                topic_id=cursor.topic_id,
                partition=cursor.partition,
                limits=Limits(
                    max_event_bytes=settings.SENTINEL_MAX_EVENT_BYTES, keep_embeddings=project.keep_embeddings
                ),
            )
        failpoint("after_decode")
        cursors.mark_phase(task, Phase.SCRUB)
        with _timed("scrub"):
            prepared = self._scrubbed(project, chunk, decoded, last)
        failpoint("after_scrub")
        return prepared

    @staticmethod
    def _scrubbed(project: Project, chunk: Chunk, decoded: Decoded, last: LastBatch | None) -> Prepared:
        scrubber = project_scrubber(project)
        records = [record for record, _ in decoded.accepted]
        scrubbed = scrub_events([accepted for _, accepted in decoded.accepted], scrubber)
        events = EventBatch(
            project.pk,
            [record.offset for record in records],
            [record.timestamp_ms for record in records],
            [accepted for accepted, _ in scrubbed],
            # HTTP scrubs before it appends; what it found travels with the record.
            [
                joined(read_scrubbed(record.headers), found)
                for record, (_, found) in zip(records, scrubbed, strict=True)
            ],
        )
        rejected = [
            RejectedRecord(record, verdict, Phase.DECODE, scrub_bytes(record.value or b"", scrubber))
            for record, verdict in decoded.rejected
        ]
        return Prepared(chunk, events, rejected, last)

    # --- the transaction ---------------------------------------------------------------------------------------------

    def _commit(self, cursor: PartitionCursor, task: Dispatch, prepared: Prepared) -> Committed:
        timely = split_late(prepared.events, retention_seconds=cursor.project.retention_days * 86_400, days=self._days)
        series_ids = self._series.of(prepared.events.take(timely.storable).series_keys)
        # Kept for a few seconds: nobody waits for these queries while the cursor's row is locked.
        load_rules([cursor.project_id])
        current_config(cursor.project_id)
        failpoint("before_transaction")
        with connection.wrap_database_errors, transaction.atomic():
            position = cursors.lock_position(cursor.pk)
            if position.next_offset != task.start or position.halted_reason:
                raise Overtaken
            failpoint("after_lock_position")
            committed = self._write(cursor, task, prepared, timely, position, series_ids)
            failpoint("before_commit")
        failpoint("after_commit")
        return committed

    def _write(
        self,
        cursor: PartitionCursor,
        task: Dispatch,
        prepared: Prepared,
        timely: Timely,
        position: cursors.Position,
        series_ids: dict[SeriesKey, int],
    ) -> Committed:
        """Write everything that the range means; the caller holds the transaction and the cursor's row."""
        config = current_config(cursor.project_id)
        previous_batch_id = prepared.last.batch_id if prepared.last else None
        state = self._baselines.load(cursor.pk, start=task.start, last_batch_id=previous_batch_id)
        failpoint("after_load_state")
        storable = prepared.events.take(timely.storable)
        admitted = state.admits(storable.series_keys, config.profile)
        scored = [admitted[index] for index in storable.series_index.tolist()]
        stored = store_events(
            storable,
            cursor_id=cursor.pk,
            project=cursor.project,
            scored=scored,
            expect_duplicates=position.stage_batches > 0,
        )
        new = storable.take(stored.new)
        late = store_late_events(prepared.events.take(timely.late), timely.reasons, cursor_id=cursor.pk)
        for reason in timely.reasons:
            metrics.EVENTS_LATE.labels(reason).inc()
        failpoint("after_late")

        progress = advance_watermark(new, position.watermark)
        # Only what is marked as scored: a rebuild reads nothing else.
        scorable = storable.take([place for place in stored.new if scored[place]])
        anomalies = self._detect(
            cursor, scorable, state, end_offset=prepared.chunk.next_offset, config=config, series_ids=series_ids
        )
        failpoint("after_detect")
        alerts = enqueue_alerts(cursor.project_id, anomalies)
        failpoint("after_outbox")
        add_to_rollups(new, cursor_id=cursor.pk, series_ids=series_ids, after_window=progress.after_window)
        failpoint("after_rollups")
        store_dead_letters(prepared.rejected, project_id=cursor.project_id, cursor_id=cursor.pk)
        failpoint("after_dead_letters")

        counts = counts_of(task, prepared, stored=len(new), late=late, anomalies=len(anomalies))
        batch_id = write_batch(
            cursor_id=cursor.pk,
            attempt=task.attempt,
            start=task.start,
            end=prepared.chunk.next_offset,
            counts=counts,
            anchor=prepared.anchor,
            config_version=config.version,
            worker_build=build_id(),
        )
        failpoint("after_batch")
        self._baselines.checkpoint(state, cursor_id=cursor.pk, batch_id=batch_id, series_ids=series_ids)
        failpoint("after_checkpoint")
        next_task = cursors.advance(
            task,
            next_offset=prepared.chunk.next_offset,
            end_offset=prepared.chunk.end_offset,
            batch_records=settings.SENTINEL_BATCH_RECORDS,
            stage_batches=STAGED_BATCHES_AFTER_DUPLICATE
            if stored.met_duplicate
            else max(0, position.stage_batches - 1),
            watermark=progress.watermark,
            suspect_end=position.suspect_end,
            strikes=position.strikes,
        )
        return Committed(
            batch_id, previous_batch_id, state, counts, next_task, len(scorable.series_keys), anomalies, alerts
        )

    def _detect(
        self,
        cursor: PartitionCursor,
        new: EventBatch,
        state: PartitionState,
        *,
        end_offset: int,
        config: Config,
        series_ids: Mapping[SeriesKey, int],
    ) -> list[AnomalyRow]:
        """Score, then learn, what the series limit admits; write what was found."""
        try:
            with detection_metrics.DETECTION_LATENCY_SECONDS.time():
                verdicts = state.advance(rows_of(new), end_offset=end_offset, profile=config.profile)
        except Exception as error:
            detection_metrics.DETECTION_ERRORS.labels(type(error).__name__).inc()
            raise
        anomalies = anomaly_rows(
            verdicts, new, cursor_id=cursor.pk, series_ids=series_ids, config_version=config.version
        )
        insert_anomalies(anomalies)
        insert_shifts(state.take_shifts(), cursor_id=cursor.pk, series_ids=series_ids)
        return anomalies


@contextmanager
def _timed(phase: str) -> Iterator[None]:
    with metrics.BATCH_SECONDS.labels(phase).time():
        yield


@cache
def pipeline() -> Pipeline:
    """Return this worker process's pipeline; called after the fork."""
    return Pipeline(log=open_log(), baselines=BaselineStore(), send=send_range)
