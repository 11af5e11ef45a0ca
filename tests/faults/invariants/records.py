"""Every record is in exactly one place, the right one, and the batches account for it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.faults.differences import Differences, Invariant
from tests.faults.features import COLUMNS, digest_of_row
from tests.faults.reference import Ints, PartitionFold, Reference
from tests.faults.witness import CursorRow, Witness

OVER_QUOTA = "over_quota"
# Why a record that no rule refuses is set aside: what a poisoned one must show.
SET_ASIDE = frozenset({"killed_worker", "stage_failed", "storage_refused", "out_of_memory"})

_EVENTS = f"SELECT {COLUMNS} FROM events WHERE cursor_id = %s"
_LETTERS = "SELECT log_offset, reason, field, records FROM ingestion_deadletter WHERE cursor_id = %s"
_LATE = "SELECT log_offset, reason FROM ingestion_lateevent WHERE cursor_id = %s"
_BATCHES = """
    SELECT start_offset, end_offset, stored, duplicates, rejected, late, control FROM ingestion_batch
    WHERE cursor_id = %s ORDER BY start_offset
"""
_GAPS = "SELECT start_offset, end_offset FROM ingestion_gap WHERE cursor_id = %s ORDER BY start_offset"

Range = tuple[int, int]


def check(reference: Reference, witness: Witness, found: Differences) -> None:
    """Compare every partition of the reference with the rows of its cursor."""
    cursors = {cursor.key: cursor for cursor in witness.cursor_rows()}
    for key, fold in reference.folds.items():
        cursor = cursors.pop(key, None)
        if cursor is not None:
            _Partition(fold, cursor, witness, found).check()
        elif fold.records:
            found.lost += fold.records
            found.add(Invariant.EVERY_RECORD_ONCE, f"partition {key[1]} has no cursor", count=fold.records)
    found.add_all(
        Invariant.CHAIN_OF_BATCHES, "a cursor without a log:", (c for c in cursors.values() if not c.is_closed)
    )


class _Partition:
    def __init__(self, fold: PartitionFold, cursor: CursorRow, witness: Witness, found: Differences) -> None:
        self._fold, self._cursor, self._witness, self._found = fold, cursor, witness, found
        self._name = f"[{cursor.partition}]"
        self._gaps: list[Range] = [(start, end) for start, end in witness.rows(_GAPS, cursor.id)]

    def check(self) -> None:
        self._check_events()
        self._check_letters()
        self._check_late()
        self._check_batches()
        if self._cursor.halted_because and not self._cursor.is_closed:
            self._found.add(Invariant.NOT_HALTED, f"{self._name} {self._cursor.halted_because}")

    def _ingested(self, offsets: Ints) -> Ints:
        """Return the offsets outside recorded gaps: what lies in one was never ingested, and is known to be lost."""
        keep = np.ones(len(offsets), np.bool_)
        for start, end in self._gaps:
            keep &= (offsets < start) | (offsets >= end)
        return offsets[keep]

    def _lose(self, what: str, offsets: Ints) -> None:
        places = (f"{self._name}@{offset}" for offset in offsets.tolist())
        self._found.lost += self._found.add_all(Invariant.EVERY_RECORD_ONCE, f"{what} is missing:", places)

    def _double(self, what: str, offsets: Ints) -> None:
        places = (f"{self._name}@{offset}" for offset in offsets.tolist())
        self._found.doubled += self._found.add_all(Invariant.EVERY_RECORD_ONCE, f"{what} should not be:", places)

    def _check_events(self) -> None:
        _, offsets, digests = self._fold.stored.columns()
        expected = self._ingested(offsets)
        stored = np.fromiter(
            (
                number
                for row in self._witness.stream(_EVENTS, self._cursor.id)
                for number in (row[0], digest_of_row(row))
            ),
            np.int64,
        ).reshape(-1, 2)
        found, counts = np.unique(stored[:, 0], return_counts=True)
        self._lose("an event", np.setdiff1d(expected, found))
        self._double("an event", np.setdiff1d(found, expected))
        self._double("a second event", found[counts > 1])
        both, mine, theirs = np.intersect1d(offsets, stored[:, 0], return_indices=True)
        differing = both[digests[mine] != stored[theirs, 1]]
        self._found.add_all(
            Invariant.EVERY_RECORD_ONCE,
            "other columns than in the log:",
            (f"{self._name}@{offset}" for offset in differing.tolist()),
        )

    def _check_letters(self) -> None:
        letters = {row[0]: row[1:] for row in self._witness.rows(_LETTERS, self._cursor.id)}
        fold = self._fold
        expected = self._ingested(np.array(sorted({*fold.rejected, *fold.poison}), np.int64))
        single = np.array(sorted(o for o, row in letters.items() if row[0] != OVER_QUOTA), np.int64)
        missing = np.setdiff1d(expected, single)
        self._lose("a dead letter", missing[self._uncounted(missing, letters)])
        wrong = np.setdiff1d(single, expected)
        good = np.isin(wrong, fold.stored.columns()[1])
        self._found.add_all(
            Invariant.NO_GOOD_RECORD_DEAD_LETTERED,
            "a dead letter:",
            (f"{self._name}@{offset} {letters[offset][0]}" for offset in wrong[good].tolist()),
        )
        self._double("a dead letter", wrong[~good])
        self._found.add_all(Invariant.EVERY_RECORD_ONCE, "another reason than the log gives:", self._reasons(letters))

    def _uncounted(
        self, missing: Ints, letters: dict[int, tuple[str, str, int]]
    ) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Mark the dead letters that no row beyond the quota counts, batch by batch."""
        lost = np.ones(len(missing), np.bool_)
        for start, end, *_ in self._witness.rows(_BATCHES, self._cursor.id):
            counted = sum(row[2] for o, row in letters.items() if start <= o < end and row[0] == OVER_QUOTA)
            within = np.flatnonzero((missing >= start) & (missing < end))
            lost[within[:counted]] = False
            if counted > len(within):
                self._double("a rejected record beyond the quota", np.arange(start, start + counted - len(within)))
        return lost

    def _reasons(self, letters: dict[int, tuple[str, str, int]]) -> Iterator[str]:
        for offset, (reason, field, _) in sorted(letters.items()):
            if reason == OVER_QUOTA:
                continue
            known = self._fold.rejected.get(offset)
            if known is not None and known != (reason, field):
                yield f"{self._name}@{offset} {reason} {field}, not {known}"
            if offset in self._fold.poison and reason not in SET_ASIDE:
                yield f"{self._name}@{offset} {reason}, although it is poison"

    def _check_late(self) -> None:
        late = dict(self._witness.rows(_LATE, self._cursor.id))
        expected = self._ingested(np.array(sorted(self._fold.late), np.int64))
        stored = np.array(sorted(late), np.int64)
        self._lose("a late event", np.setdiff1d(expected, stored))
        self._double("a late event", np.setdiff1d(stored, expected))
        differing = [o for o, (reason, _) in self._fold.late.items() if late.get(o, reason) != reason]
        self._found.add_all(Invariant.EVERY_RECORD_ONCE, f"{self._name} another reason to be late", differing)

    def _check_batches(self) -> None:
        batches = self._witness.rows(_BATCHES, self._cursor.id)
        self._found.add_all(Invariant.CHAIN_OF_BATCHES, self._name, self._chain(batches))
        fold = self._fold
        if self._cursor.is_closed:
            return
        expected = {
            "stored": len(fold.stored.columns()[0]),
            "duplicates": fold.duplicates,
            "rejected": len(fold.rejected) + len(fold.poison),
            "late": len(fold.late),
            "control": fold.control,
        }
        for (name, count), claimed in zip(
            expected.items(), map(sum, zip(*[b[2:] for b in batches], strict=True)), strict=False
        ):
            if claimed != count:
                self._found.add(
                    Invariant.CHAIN_OF_BATCHES,
                    f"{self._name} the batches claim {claimed} {name}, the log holds {count}",
                )
        if self._gaps != fold.gaps:
            self._found.add(Invariant.CHAIN_OF_BATCHES, f"{self._name} gaps {self._gaps}, the log has {fold.gaps}")

    def _chain(self, batches: list[tuple[int, ...]]) -> Iterator[str]:
        expected = self._fold.start
        ranges = [*((b[0], b[1]) for b in batches), *self._gaps]
        for start, end in sorted(ranges):
            if start != expected:
                yield f"{'an overlap' if start < expected else 'a hole'} between {expected} and {start}"
            expected = end
        if expected != self._cursor.next_offset:
            yield f"the chain ends at {expected}, the cursor stands at {self._cursor.next_offset}"
        if not self._cursor.is_closed and self._cursor.next_offset != self._fold.next_offset:
            yield f"the cursor stands at {self._cursor.next_offset}, the log ends at {self._fold.next_offset}"
        for start, end, *parts in batches:
            if sum(parts) != end - start:
                yield f"the batch [{start}, {end}) accounts for {sum(parts)} offsets"
