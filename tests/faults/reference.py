"""The reference: one process folds a topic, with the pure code of the pipeline and none of its machinery.

A plain loop over a log; no Celery, no Redis, no database, no cursor, no transaction, no cache, no rebuild. What it
yields is what must be in the database however often the ingestion was killed:

- events with their place and columns, duplicates, rejected and late records, control offsets: exact;
- anomalies with their baseline basis, new levels, the state of every series: exact;
- roll-ups with exact sums and sketches: exact;
- outbox entries: their ids, windows and severities are exact. Which entry of a window is sent, and which are suppressed
  as repeats, depends on how the log was cut and on what the dispatcher claimed first; so does staleness near the limit.
  Certain is that a window with a fresh anomaly has an entry that is not suppressed, and that at most one is delivered.

An event that came through several partitions is stored by whichever commits first. No fold can know which, and the
baselines of both depend on it: `Reference.settle` asks the database for the owner of each such event, and folds the
partitions again that do not own theirs. All else follows from the log alone.

Memory: 24 bytes per stored event, about 90 more per event of partitions that are not `release`d.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detection.detect import anomaly_rows, rows_of
from detection.fold import PartitionState, Shift
from ingestion.decode import decode_records
from ingestion.event_batch import EventBatch
from ingestion.lateness import advance_watermark, split_late
from ingestion.log.base import Chunk, Log, OffsetOutOfRange, PartitionId, Record
from ingestion.scrub import scrub_events
from ingestion.scrubbed_header import joined, read_scrubbed
from tests.faults.features import digests_of, identity
from tests.faults.findings import Alert, Finding, alerts_of, finding_of
from tests.faults.recount import Recount
from tests.faults.setting import POISON_MARK, KnownDays, Setting

CHUNK_RECORDS = 3_000
CHUNK_BYTES = 16_000_000

Ints = npt.NDArray[np.int64]


class Place(NamedTuple):
    """One record of the topic's partitions, of whatever incarnation of the topic."""

    topic_id: str
    partition: int
    offset: int


class StoredEvents:
    """Identity, offset and digest of the columns of stored events, 24 bytes each. Digests hold for one process."""

    def __init__(self) -> None:
        self._parts: list[Ints] = []

    def add(self, keys: Sequence[int], offsets: Sequence[int], digests: Sequence[int]) -> None:
        if keys:
            self._parts.append(np.array([keys, offsets, digests], np.int64))

    def columns(self) -> tuple[Ints, Ints, Ints]:
        """Return identities, offsets (ascending) and digests."""
        if len(self._parts) != 1:
            self._parts = [np.concatenate([np.empty((3, 0), np.int64), *self._parts], axis=1)]
        keys, offsets, digests = self._parts[0]
        return keys, offsets, digests


@dataclass(slots=True)
class Foreign:
    """Identities that another partition has stored, or kept as late, before this one."""

    stored: set[int] = field(default_factory=set)
    late: set[int] = field(default_factory=set)


class PartitionFold:
    """One partition, folded up to `next_offset`."""

    def __init__(
        self, log: Log, partition: PartitionId, setting: Setting, *, start: int, foreign: Foreign | None = None
    ) -> None:
        self.partition = partition
        self.start = self.next_offset = start
        self.records = self.control = self.duplicates = 0
        self.stored = StoredEvents()
        self.rejected: dict[int, tuple[str, str]] = {}  # offset: (reason, field)
        self.poison: set[int] = set()
        self.late: dict[int, tuple[str, int]] = {}  # offset: (reason, identity)
        self.gaps: list[tuple[int, int]] = []
        self.findings: dict[uuid.UUID, Finding] = {}
        self.alerts: dict[uuid.UUID, Alert] = {}
        self.shifts: list[Shift] = []
        self.rollups = Recount()
        self.state = PartitionState(next_offset=start)
        self.foreign = foreign or Foreign()
        self._log = log
        self._setting = setting
        self._scrubber = setting.scrubber()
        self._days = KnownDays(setting.days)
        self._watermark: datetime | None = None
        self._seen: set[int] = set()
        self._seen_late: set[int] = set()

    def advance(self, end: int) -> None:
        """Fold [next_offset, end). Raises `LogUnavailable`."""
        while self.next_offset < end:
            chunk = self._read(end)
            if chunk is not None:
                self._fold(chunk)
                self.next_offset = chunk.next_offset

    def release(self) -> None:
        """Free what only further records would need."""
        self._seen.clear()
        self._seen_late.clear()

    def _read(self, end: int) -> Chunk | None:
        """Return the next records; None after retention has removed some, which is a gap."""
        topic, number = self.partition.topic, self.partition.partition
        until = min(end, self.next_offset + CHUNK_RECORDS)
        try:
            return self._log.read(topic, number, self.next_offset, until, max_bytes=CHUNK_BYTES)
        except OffsetOutOfRange:
            beginning = self._log.beginning_offsets([(topic, number)])[topic, number]
            if beginning <= self.next_offset:
                raise
            self.gaps.append((self.next_offset, beginning))
            self.next_offset = beginning
            return None

    def _fold(self, chunk: Chunk) -> None:
        healthy = [record for record in chunk.records if not self._is_poison(record)]
        self.records += len(chunk.records)
        self.control += chunk.next_offset - self.next_offset - len(chunk.records)
        batch = self._decoded(healthy)
        timely = split_late(batch, retention_seconds=self._setting.retention_days * 86_400, days=self._days)
        self._keep_late(batch.take(timely.late), timely.reasons)
        new = self._new(batch.take(timely.storable))
        progress = advance_watermark(new, self._watermark)
        self._watermark = progress.watermark
        self._judge(new, end_offset=chunk.next_offset)
        self.rollups.add(new, progress.after_window)

    def _is_poison(self, record: Record) -> bool:
        found = POISON_MARK in (record.value or b"")
        if found:
            self.poison.add(record.offset)
        return found

    def _decoded(self, records: Sequence[Record]) -> EventBatch:
        decoded = decode_records(
            records,
            topic_id=self.partition.topic_id,
            partition=self.partition.partition,
            limits=self._setting.limits,
        )
        for record, rejected in decoded.rejected:
            self.rejected[record.offset] = (rejected.reason.value, rejected.field)
        kept = [record for record, _ in decoded.accepted]
        scrubbed = scrub_events([accepted for _, accepted in decoded.accepted], self._scrubber)
        return EventBatch(
            self._setting.project_id,
            [record.offset for record in kept],
            [record.timestamp_ms for record in kept],
            [accepted for accepted, _ in scrubbed],
            [joined(read_scrubbed(record.headers), found) for record, (_, found) in zip(kept, scrubbed, strict=True)],
        )

    def _keep_late(self, batch: EventBatch, reasons: Sequence[str]) -> None:
        for offset, item, reason in zip(batch.offsets, batch.accepted, reasons, strict=True):
            key = identity(item.event_id.int, item.timestamp_us)
            if key in self._seen_late or key in self.foreign.late:
                self.duplicates += 1
            else:
                self._seen_late.add(key)
                self.late[offset] = (reason, key)

    def _new(self, batch: EventBatch) -> EventBatch:
        """Return the events that no earlier record of this partition, and no other partition, has brought."""
        keys = [identity(item.event_id.int, item.timestamp_us) for item in batch.accepted]
        places = []
        for place, key in enumerate(keys):
            if key not in self._seen and key not in self.foreign.stored:
                self._seen.add(key)
                places.append(place)
        self.duplicates += len(keys) - len(places)
        new = batch.take(places)
        admitted = self.state.admits(new.series_keys, self._setting.profile)
        scored = [admitted[index] for index in new.series_index.tolist()]
        digests = digests_of(new, scored, text_policy=self._setting.text_policy)
        self.stored.add([keys[place] for place in places], new.offsets, digests)
        return new

    def _judge(self, new: EventBatch, *, end_offset: int) -> None:
        verdicts = self.state.advance(rows_of(new), end_offset=end_offset, profile=self._setting.profile)
        self.shifts += self.state.take_shifts()
        ids = dict.fromkeys(new.series_keys, 0)
        rows = anomaly_rows(verdicts, new, cursor_id=0, series_ids=ids, config_version=0)
        for verdict, row in zip(verdicts, rows, strict=True):
            self.findings[row.id] = finding_of(row)
            logged_at = datetime.fromtimestamp(new.log_times_ms[verdict.row] / 1000, UTC)
            self.alerts.update(alerts_of(row, self._setting.rules, logged_at=logged_at))


Owners = Callable[[Collection[Place]], Collection[Place]]


class Reference:
    """The folds of a topic's partitions, by (topic id, partition): a topic that was recreated adds new ones."""

    def __init__(self, log: Log, setting: Setting, topic: str) -> None:
        self.setting = setting
        self.topic = topic
        self.folds: dict[tuple[str, int], PartitionFold] = {}
        self._log = log

    def advance(self) -> None:
        """Fold everything that the topic holds now; call it again for what has come since.

        Call it before records are deleted from the log: what is gone can be folded no more. Raises `LogUnavailable`.
        """
        found = self._log.partitions([self.topic])
        keys = [(item.topic, item.partition) for item in found]
        begins, ends = self._log.beginning_offsets(keys), self._log.end_offsets(keys)
        for item in found:
            place = (item.topic, item.partition)
            fold = self.folds.get((item.topic_id, item.partition))
            if fold is None:
                fold = PartitionFold(self._log, item, self.setting, start=begins[place])
                self.folds[item.topic_id, item.partition] = fold
            fold.advance(ends[place])

    def settle(self, stored: Owners, late: Owners) -> None:
        """Decide who owns the events that came through several partitions: who has stored them.

        `stored` and `late` return which of the given places are in the database. Needs the log from its beginning.
        """
        foreign = {key: Foreign(set(fold.foreign.stored), set(fold.foreign.late)) for key, fold in self.folds.items()}
        for key, lost in _losers(self._stored_places(), stored):
            foreign[key].stored.add(lost)
        for key, lost in _losers(self._late_places(), late):
            foreign[key].late.add(lost)
        for key, more in foreign.items():
            fold = self.folds[key]
            if more != fold.foreign:
                again = PartitionFold(self._log, fold.partition, self.setting, start=fold.start, foreign=more)
                again.advance(fold.next_offset)
                self.folds[key] = again

    def _stored_places(self) -> Mapping[int, list[Place]]:
        columns = {key: fold.stored.columns() for key, fold in self.folds.items()}
        everything = np.concatenate([np.empty(0, np.int64), *(found[0] for found in columns.values())])
        distinct, counts = np.unique(everything, return_counts=True)
        contested = distinct[counts > 1]
        places: dict[int, list[Place]] = {}
        for key, (identities, offsets, _) in columns.items():
            for place in np.flatnonzero(np.isin(identities, contested)).tolist():
                places.setdefault(int(identities[place]), []).append(Place(*key, int(offsets[place])))
        return places

    def _late_places(self) -> Mapping[int, list[Place]]:
        places: dict[int, list[Place]] = {}
        for key, fold in self.folds.items():
            for offset, (_, found) in fold.late.items():
                places.setdefault(found, []).append(Place(*key, offset))
        return {found: claims for found, claims in places.items() if len(claims) > 1}

    # --- totals ------------------------------------------------------------------------------------------------------

    @property
    def records(self) -> int:
        """Records of all partitions."""
        return sum(fold.records for fold in self.folds.values())

    @property
    def events(self) -> int:
        """Events that must be stored."""
        return sum(len(fold.stored.columns()[0]) for fold in self.folds.values())

    def findings(self) -> dict[uuid.UUID, Finding]:
        """Return the anomalies of all partitions."""
        return {found: finding for fold in self.folds.values() for found, finding in fold.findings.items()}

    def alerts(self) -> dict[uuid.UUID, Alert]:
        """Return the outbox entries of all partitions."""
        return {found: alert for fold in self.folds.values() for found, alert in fold.alerts.items()}


def _losers(claims: Mapping[int, list[Place]], owners: Owners) -> Iterator[tuple[tuple[str, int], int]]:
    """Yield the partitions, with the identity, that do not own a contested event."""
    if not claims:
        return
    owned = set(owners([place for places in claims.values() for place in places]))
    for found, places in claims.items():
        # Where nobody has it, it is lost: of the first, say.
        owner = next((place for place in places if place in owned), places[0])
        for place in places:
            if place != owner:
                yield (place.topic_id, place.partition), found
