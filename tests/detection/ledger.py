"""A partition with its committed batches, as the ingest pipeline leaves them, for the tests of the stores."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from django.db import connection
from psycopg2.extras import execute_values

from detection.baselines import BaselineStore
from detection.config import config_of_version
from detection.fold import PartitionState, Verdict
from detection.verdict import SeriesKey
from ingestion.batches import BatchStamp
from ingestion.models import Batch, PartitionCursor, Project, Series
from ingestion.partitions import ensure_partitions
from tests.detection.streams import Stream

_INSERT = """
    INSERT INTO events (event_id, project_id, timestamp, cursor_id, log_offset, scored, service, model, latency_ms,
        total_tokens, cost_usd, has_errors)
    VALUES %s
"""


@dataclass
class Ledger:
    """A cursor, and the log that it reads."""

    project: Project
    cursor: PartitionCursor
    log: Stream
    last_stamp: BatchStamp | None = None
    position: int = 0

    def ingest(self, store: BaselineStore, *, until: int, config_version: int = 0) -> list[Verdict]:
        """Do with the range up to `until` what the pipeline does with a batch, roll-ups and the like left out."""
        previous = self.last_stamp
        start, self.position = self.position, until
        state = store.load(self.cursor.pk, start=start, last_stamp=previous)
        rows = self.log.rows(start, until)
        scored = [rows.series_keys[i] in self.scored(state, config_version) for i in rows.series.tolist()]
        self._store_events(start, until, scored)
        profile = config_of_version(config_version).profile
        verdicts = state.advance(rows, end_offset=until, profile=profile)
        batch = Batch.objects.create(
            cursor=self.cursor,
            attempt=1,
            start_offset=start,
            end_offset=until,
            stored=len(scored),
            config_version=config_version,
            created_at=datetime.now(UTC),  # that of the transaction would be the same all through a test
        )
        store.checkpoint(state, cursor_id=self.cursor.pk, batch_id=batch.pk, series_ids=self.series_ids())
        self.last_stamp = BatchStamp.of(batch)
        store.publish(state, cursor_id=self.cursor.pk, previous_stamp=previous, stamp=self.last_stamp)
        first = int(np.searchsorted(self.log.offset, start))
        return [replace(verdict, row=verdict.row + first) for verdict in verdicts]

    def scored(self, state: PartitionState, config_version: int) -> set[SeriesKey]:
        admitted = state.admits(self.log.keys, config_of_version(config_version).profile)
        return {key for key, yes in zip(self.log.keys, admitted, strict=True) if yes}

    def load(self, store: BaselineStore) -> PartitionState:
        """Return the state that the next batch would start from."""
        return store.load(self.cursor.pk, start=self.position, last_stamp=self.last_stamp)

    def roll_back(self) -> None:
        """Lose the last batch, as a crash with asynchronous commits or an older backup does: its id is used again."""
        batch = Batch.objects.get(cursor=self.cursor, end_offset=self.position)
        with connection.cursor() as sql:
            sql.execute(
                "DELETE FROM events WHERE cursor_id = %s AND log_offset >= %s", [self.cursor.pk, batch.start_offset]
            )
            sql.execute("SELECT setval(pg_get_serial_sequence('ingestion_batch', 'id'), %s, false)", [batch.pk])
        self.position = batch.start_offset
        batch.delete()
        self.last_stamp = BatchStamp.of(Batch.objects.get(cursor=self.cursor, end_offset=self.position))

    def series_ids(self) -> dict[SeriesKey, int]:
        return {(each.project_id, each.service, each.model): each.pk for each in Series.objects.all()}

    def _store_events(self, start: int, until: int, scored: Sequence[bool]) -> None:
        rows = self.log.rows(start, until)
        table = []
        for offset, index, values, is_scored in zip(
            rows.offset.tolist(), rows.series.tolist(), rows.values.tolist(), scored, strict=True
        ):
            project_id, service, model = rows.series_keys[index]
            latency, tokens, cost = (None if value != value else value for value in values)
            known = latency if latency is not None else 1.0
            now = datetime.now(UTC)
            table.append(
                (
                    uuid.uuid4(),
                    project_id,
                    now,
                    self.cursor.pk,
                    offset,
                    is_scored,
                    service,
                    model,
                    known,
                    tokens,
                    cost,
                    False,
                )
            )
        with connection.cursor() as sql:
            execute_values(sql.cursor, _INSERT, [(str(row[0]), *row[1:]) for row in table])


def open_ledger(log: Stream) -> Ledger:
    """Return a ledger at the start of `log`, whose series become series of a new project."""
    ensure_partitions()
    project = Project.objects.create(slug=uuid.uuid4().hex[:12], name="Test")
    cursor = PartitionCursor.objects.create(
        project=project, cluster_id="c", topic_id=uuid.uuid4().hex, topic="llm.telemetry", partition=0
    )
    keys = [(project.pk, service, model) for _, service, model in log.keys]
    Series.objects.bulk_create([Series(project=project, service=service, model=model) for _, service, model in keys])
    return Ledger(project, cursor, replace(log, keys=keys))
