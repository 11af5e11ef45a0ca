"""What the one transaction of a range writes, in the order in which everybody locks.

The cursor's row is locked first, by the caller; then events, anomalies, outbox, roll-ups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.conf import settings

from alerting.from_anomalies import enqueue_alerts
from detection import metrics as detection_metrics
from detection.baselines import BaselineStore
from detection.config import Config, current_config
from detection.detect import AnomalyRow, anomaly_rows, insert_anomalies, insert_shifts, rows_of
from detection.fold import PartitionState
from ingestion import cursor as cursors
from ingestion import metrics
from ingestion.batches import BatchStamp, Counts, write_batch
from ingestion.cursor import Dispatch, Position
from ingestion.dead_letters import store_dead_letters
from ingestion.event_batch import EventBatch, SeriesKey
from ingestion.failpoint import failpoint
from ingestion.late_events import store_late_events
from ingestion.lateness import Progress, Timely, advance_watermark
from ingestion.models import PartitionCursor
from ingestion.models.cursor import Phase
from ingestion.range_size import next_range_records
from ingestion.rollup import add_to_rollups
from ingestion.store import STAGED_BATCHES_AFTER_DUPLICATE, Stored, store_events
from sentinel.cpu_limit import cpu_uncounted
from sentinel.ingested import Committed, Prepared, counts_of
from sentinel.stage import stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A prepared range, and what was looked up for it before anybody waits for the transaction."""

    cursor: PartitionCursor
    task: Dispatch
    prepared: Prepared
    timely: Timely
    series_ids: Mapping[SeriesKey, int]
    build: str


def write(work: Work, position: Position, baselines: BaselineStore) -> Committed:
    """Write everything that the range means; the caller holds the transaction and the cursor's row."""
    cursor, prepared = work.cursor, work.prepared
    config = current_config(cursor.project_id)
    previous_stamp = prepared.last.stamp if prepared.last else None
    with cpu_uncounted():  # It may have to rebuild the state from many more events than the range has.
        state = baselines.load(cursor.pk, start=work.task.start, last_stamp=previous_stamp)
    failpoint("after_load_state")
    storable = prepared.events.take(work.timely.storable)
    admitted = state.admits(storable.series_keys, config.profile)
    scored = [admitted[index] for index in storable.series_index.tolist()]
    stored = _store(work, storable, scored, position)
    new = storable.take(stored.new)
    late = _store_late(work)
    failpoint("after_late")
    # Only what is marked as scored: a rebuild reads nothing else.
    scorable = storable.take([place for place in stored.new if scored[place]])
    anomalies = _detect(work, scorable, state, config)
    failpoint("after_detect")
    alerts = enqueue_alerts(cursor.project_id, anomalies, now=position.now)
    failpoint("after_outbox")
    progress = advance_watermark(new, position.watermark)
    add_to_rollups(new, cursor_id=cursor.pk, series_ids=work.series_ids, after_window=progress.after_window)
    failpoint("after_rollups")
    store_dead_letters(prepared.rejected, project_id=cursor.project_id, cursor_id=cursor.pk)
    failpoint("after_dead_letters")
    counts = counts_of(work.task, prepared, stored=len(new), late=late, anomalies=len(anomalies))
    stamp = _write_batch(work, counts, config)
    failpoint("after_batch")
    baselines.checkpoint(state, cursor_id=cursor.pk, batch_id=stamp.batch_id, series_ids=work.series_ids)
    failpoint("after_checkpoint")
    next_task = _advance(work, stored, progress, position)
    return Committed(
        stamp=stamp,
        previous_stamp=previous_stamp,
        state=state,
        counts=counts,
        next_task=next_task,
        learning_series=len(scorable.series_keys),
        anomalies=anomalies,
        alerts=alerts,
        next_offset=prepared.chunk.next_offset,
    )


def _store(work: Work, storable: EventBatch, scored: list[bool], position: Position) -> Stored:
    return store_events(
        storable,
        cursor_id=work.cursor.pk,
        project=work.cursor.project,
        scored=scored,
        expect_duplicates=position.stage_batches > 0,
    )


def _store_late(work: Work) -> int:
    timely = work.timely
    late = store_late_events(work.prepared.events.take(timely.late), timely.reasons, cursor_id=work.cursor.pk)
    for reason in timely.reasons:
        metrics.EVENTS_LATE.labels(reason).inc()
    return late


def _detect(work: Work, new: EventBatch, state: PartitionState, config: Config) -> list[AnomalyRow]:
    """Score, then learn, what the series limit admits; write what was found."""
    cursor_id, series_ids = work.cursor.pk, work.series_ids
    with stage(Phase.DETECT):
        try:
            with detection_metrics.DETECTION_LATENCY_SECONDS.time():
                end_offset = work.prepared.chunk.next_offset
                verdicts = state.advance(rows_of(new), end_offset=end_offset, profile=config.profile)
        except Exception as error:
            detection_metrics.DETECTION_ERRORS.labels(type(error).__name__).inc()
            raise
        anomalies = anomaly_rows(
            verdicts, new, cursor_id=cursor_id, series_ids=series_ids, config_version=config.version
        )
        insert_anomalies(anomalies)
        insert_shifts(state.take_shifts(), cursor_id=cursor_id, series_ids=series_ids)
    return anomalies


def _write_batch(work: Work, counts: Counts, config: Config) -> BatchStamp:
    return write_batch(
        cursor_id=work.cursor.pk,
        attempt=work.task.attempt,
        start=work.task.start,
        end=work.prepared.chunk.next_offset,
        counts=counts,
        anchor=work.prepared.anchor,
        config_version=config.version,
        worker_build=work.build,
    )


def _advance(work: Work, stored: Stored, progress: Progress, position: Position) -> Dispatch | None:
    chunk, rejects = work.prepared.chunk, work.prepared.rejects
    return cursors.advance(
        work.task,
        next_offset=chunk.next_offset,
        end_offset=chunk.end_offset,
        batch_records=next_range_records(
            most=settings.SENTINEL_BATCH_RECORDS, records=rejects.records, rejected=rejects.rejected
        ),
        stage_batches=STAGED_BATCHES_AFTER_DUPLICATE if stored.met_duplicate else max(0, position.stage_batches - 1),
        watermark=progress.watermark,
        suspect_end=position.suspect_end,
        strikes=position.strikes,
    )
