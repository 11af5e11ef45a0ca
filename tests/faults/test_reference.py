"""The reference itself: it knows none of the machinery, and follows a log through whatever happens to it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from ingestion.log.base import Chunk, OffsetOutOfRange, PartitionId, Record
from sentinel.demo.bench_load import bench_events
from tests.faults import invalid, reference
from tests.faults.reference import PartitionFold, Reference
from tests.faults.servers import REPOSITORY
from tests.faults.setting import Setting

# What keeps the promises that the reference is to check.
MACHINERY = (
    "celery", "redis", "ingestion.cursor", "ingestion.store", "ingestion.dispatch", "ingestion.bridge",
    "detection.baselines", "detection.cache", "detection.rebuild", "detection.checkpoint", "sentinel.pipeline",
    "sentinel.prepare", "sentinel.write", "sentinel.commit", "sentinel.attempt", "sentinel.bisection",
)  # fmt: skip
TODAY = datetime.now(UTC).date()
SETTING = Setting(
    project_id=1,
    retention_days=30,
    days=frozenset(TODAY - timedelta(days=ago) for ago in range(-3, 31)),
    pseudonym_key=b"key",
)
NOW_MS = time.time_ns() // 1_000_000
VALUES = [item.value for item in bench_events(3_000, seed=5, end_us=NOW_MS * 1_000)]


class ListLog:
    """A log of one partition, of records in memory; `begin` is what retention has left."""

    def __init__(self, values: Sequence[bytes], *, topic_id: str = "first") -> None:
        self.records = [Record(offset, NOW_MS, None, value, ()) for offset, value in enumerate(values)]
        self.topic_id = topic_id
        self.begin = 0
        self.end = len(values)

    def partitions(self, topics: Collection[str]) -> Sequence[PartitionId]:
        return [PartitionId("cluster", self.topic_id, topic, 0) for topic in topics]

    def beginning_offsets(self, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return dict.fromkeys(partitions, self.begin)

    def end_offsets(self, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return dict.fromkeys(partitions, self.end)

    def written_offsets(self, partitions: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return self.end_offsets(partitions)

    def read(self, topic: str, partition: int, start: int, end: int, *, max_bytes: int) -> Chunk:
        if start < self.begin:
            raise OffsetOutOfRange(f"{start} < {self.begin}")
        end = min(end, self.end)
        return Chunk([record for record in self.records if start <= record.offset < end], end, self.end)

    def close(self) -> None: ...


def folded(log: ListLog) -> PartitionFold:
    found = Reference(log, SETTING, "topic")
    found.advance()
    (fold,) = found.folds.values()
    return fold


def picture(fold: PartitionFold) -> tuple[object, ...]:
    keys, offsets, digests = (column.tolist() for column in fold.stored.columns())
    return (
        keys, offsets, digests, fold.duplicates, fold.rejected, fold.late, fold.findings, fold.alerts, fold.shifts,
        fold.rollups.total(), fold.state.encode_all(),
    )  # fmt: skip


def test_it_imports_nothing_of_what_it_checks() -> None:
    # The admin, which Django would load by itself, acts on cursors.
    program = (
        "import sys, django; from django.conf import settings; "
        "settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if not app.endswith('AdminConfig')]; "
        f"django.setup(); import tests.faults.reference; print([name for name in {MACHINERY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_finds_what_there_is_to_find() -> None:
    fold = folded(ListLog(VALUES))
    assert len(fold.stored.columns()[0]) == fold.records == 3_000
    assert len(fold.findings) > 10
    assert sum(sums.events for sums in fold.rollups.sums.values()) == 3_000


@pytest.mark.parametrize("chunk_records", [7, 256, 500])
def test_any_cutting_gives_the_same(monkeypatch: pytest.MonkeyPatch, chunk_records: int) -> None:
    spoilt = [*VALUES[:900], VALUES[3], b"{", invalid.late(VALUES[4]), *VALUES[900:1_500]]
    whole = picture(folded(ListLog(spoilt)))
    monkeypatch.setattr(reference, "CHUNK_RECORDS", chunk_records)
    assert picture(folded(ListLog(spoilt))) == whole


def test_it_goes_on_where_it_stopped() -> None:
    log = ListLog(VALUES)
    found = Reference(log, SETTING, "topic")
    for log.end in (100, 100, 1_777, 3_000):
        found.advance()
    (fold,) = found.folds.values()
    assert picture(fold) == picture(folded(ListLog(VALUES)))


def test_offsets_without_a_record_are_counted() -> None:
    log = ListLog(VALUES)
    del log.records[100:110]
    fold = folded(log)
    assert (fold.records, fold.control) == (2_990, 10)


def test_what_retention_has_removed_is_a_gap() -> None:
    log = ListLog(VALUES)
    found = Reference(log, SETTING, "topic")
    log.end = 500
    found.advance()
    log.begin, log.end = 800, 3_000
    found.advance()
    (fold,) = found.folds.values()
    assert fold.gaps == [(500, 800)]
    assert (fold.records, fold.next_offset) == (2_700, 3_000)


def test_a_topic_that_was_recreated_is_another_partition() -> None:
    log = ListLog(VALUES)
    found = Reference(log, SETTING, "topic")
    found.advance()
    log.topic_id, log.end = "second", 10
    found.advance()
    assert [(key, fold.records) for key, fold in found.folds.items()] == [(("first", 0), 3_000), (("second", 0), 10)]


def test_poison_is_expected_among_the_dead_letters_and_changes_nothing_else() -> None:
    placeholder = [*VALUES[:1_000], b"{}", *VALUES[1_000:]]
    poison = [*VALUES[:1_000], invalid.poisoned(VALUES[5]), *VALUES[1_000:]]
    mine, other = folded(ListLog(poison)), folded(ListLog(placeholder))
    assert (mine.poison, mine.rejected) == ({1_000}, {})
    assert (other.poison, list(other.rejected)) == (set(), [1_000])
    assert mine.findings == other.findings


def test_a_hundred_thousand_events_take_some_seconds_of_cpu_at_most() -> None:
    log = ListLog([item.value for item in bench_events(20_000, seed=6, end_us=NOW_MS * 1_000)])
    began = time.process_time()
    folded(log)
    assert 5 * (time.process_time() - began) < 20
