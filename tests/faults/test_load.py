"""What a load mixes in is what it says, and its account of what was acknowledged is that of the log."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from ingestion.limits import Limits
from ingestion.log.kafka import KafkaLog
from ingestion.reject import Rejected
from ingestion.scrub import Scrubber, scrub_events
from ingestion.validate import Accepted, decode_event, is_late
from sentinel.demo.bench_load import bench_events
from sentinel.demo.render import WireEvent
from tests.faults import invalid
from tests.faults.load import Kind, Load, Shares
from tests.faults.reference import Reference
from tests.faults.setting import POISON_MARK, Setting
from tests.services import KafkaBroker

NOW_US = time.time_ns() // 1_000
EVENTS = 2_000


def verdict(value: bytes) -> Accepted | Rejected:
    return decode_event(value, log_time_us=NOW_US, default_event_id=uuid.uuid4, limits=Limits())


@pytest.fixture
def an_event() -> WireEvent:
    return next(bench_events(1, seed=3, end_us=NOW_US))


@pytest.mark.parametrize("name", [name for name in invalid.INVALID if name != "no value"])
def test_every_kind_of_invalid_record_is_rejected(an_event: WireEvent, name: str) -> None:
    value = invalid.INVALID[name](an_event.value)
    assert value is not None
    assert isinstance(verdict(value), Rejected)


def test_the_kinds_of_invalid_records_have_different_reasons(an_event: WireEvent) -> None:
    values = [change(an_event.value) for change in invalid.INVALID.values()]
    found = [verdict(value) for value in values if value is not None]
    assert len({item.reason for item in found if isinstance(item, Rejected)}) >= 9


def test_a_late_event_is_valid_and_too_old(an_event: WireEvent) -> None:
    found = verdict(invalid.late(an_event.value))
    assert isinstance(found, Accepted)
    assert is_late(found.timestamp_us, NOW_US, 30 * 86_400) == "too_old"


def test_a_detailed_event_is_valid_and_carries_what_others_do_not(an_event: WireEvent) -> None:
    found = verdict(invalid.detailed(an_event.value, 7))
    assert isinstance(found, Accepted)
    assert found.prompt_embedding is not None
    ((scrubbed, pii),) = scrub_events([found], Scrubber(user_key=b"key"))
    assert pii == {"EMAIL": 1}
    assert all((scrubbed.event.tool_calls, scrubbed.event.retrieved_context, scrubbed.event.features))
    assert found.event_id == an_event.event_id


def test_a_poisoned_event_is_valid_and_marked(an_event: WireEvent) -> None:
    value = invalid.poisoned(an_event.value)
    assert isinstance(verdict(value), Accepted)
    assert POISON_MARK in value


@pytest.fixture
def topic(kafka: KafkaBroker) -> str:
    return kafka.new_topic(partitions=3, prefix="load")


@pytest.fixture
def reference(kafka: KafkaBroker, topic: str) -> Iterator[Reference]:
    log = KafkaLog([kafka.brokers], security={}, request_timeout_seconds=10)
    today = datetime.now(UTC).date()
    days = frozenset(today - timedelta(days=ago) for ago in range(-3, 31))
    yield Reference(log, Setting(project_id=1, retention_days=30, days=days, pseudonym_key=b"key"), topic)
    log.close()


def sent(kafka: KafkaBroker, topic: str, *, scatter: bool) -> Load:
    load = Load(
        brokers=kafka.brokers,
        topic=topic,
        partitions=3,
        seed=5,
        per_second=None,
        events=EVENTS,
        shares=Shares(duplicates=0.05, invalid=0.05, late=0.01),
        scatter=scatter,
    )
    load.start()
    load.wait()
    return load


@pytest.mark.parametrize("scatter", [False, True])
def test_the_log_holds_what_was_acknowledged(
    kafka: KafkaBroker, topic: str, reference: Reference, scatter: bool
) -> None:
    load = sent(kafka, topic, scatter=scatter)
    load.send(invalid.poisoned(load.events_to_come(1)[0].value), kind=Kind.POISON, partition=2)
    load.stop()
    reference.advance()
    reference.settle(lambda places: places, lambda places: places)
    assert load.disagreements(reference) == []
    assert reference.records == load.acknowledged == sum(load.sent.values())
    assert reference.events == load.sent[Kind.EVENT] == EVENTS
    assert min(load.sent[kind] for kind in Kind) >= 1
    assert load.sent[Kind.DUPLICATE] == sum(fold.duplicates for fold in reference.folds.values())


def test_a_record_that_the_log_lacks_is_noticed(kafka: KafkaBroker, topic: str, reference: Reference) -> None:
    load = sent(kafka, topic, scatter=False)
    load.stop()
    reference.advance()
    next(iter(reference.folds.values())).next_offset -= 1
    partition, offset = load.places[Kind.INVALID][0]
    fold = next(fold for fold in reference.folds.values() if fold.partition.partition == partition)
    del fold.rejected[offset]
    found = load.disagreements(reference)
    assert len(found) == 2
    assert f"[{partition}]@{offset} is invalid" in found


def test_a_record_that_every_reader_skips_is_noticed(kafka: KafkaBroker, topic: str, reference: Reference) -> None:
    load = sent(kafka, topic, scatter=False)
    load.stop()
    reference.advance()
    fold = next(iter(reference.folds.values()))
    fold.records -= 1
    (found,) = load.disagreements(reference)
    assert found.endswith(f"of which {fold.records} were read")


def test_a_series_stays_in_its_partition_unless_scattered(kafka: KafkaBroker, topic: str, reference: Reference) -> None:
    load = sent(kafka, topic, scatter=False)
    load.stop()
    reference.advance()
    series = [set(fold.state.encode_all()) for fold in reference.folds.values()]
    assert sum(map(len, series)) == len(set.union(*series)) == 40
