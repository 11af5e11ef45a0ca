from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import redis
from django.db import connection
from pytest_django import Settings

from detection.baselines import BaselineStore
from detection.cache import Written, connect
from detection.checkpoint import checkpoint_offset
from detection.fold import PartitionState
from detection.metrics import BASELINE_LOADS
from detection.models import Baseline, DetectionConfig
from detection.profile import Profile
from detection.rebuild import EventsMissing
from detection.series import STATE_VERSION
from ingestion.batches import BatchStamp
from tests.detection.ledger import Ledger, open_ledger
from tests.detection.streams import advance, stream

pytestmark = pytest.mark.django_db

CUTS = [300, 900, 901, 2_000, 3_100]
# The stubs take every answer for an awaitable.
Client = Any
LOG = stream(1_200, series=4, seed=5, unknown=0.0)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ledger() -> Ledger:
    return open_ledger(LOG)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(redis_url: str) -> Client:
    return connect(redis_url)


@pytest.fixture
def store(client: Client, clock: Clock) -> BaselineStore:
    return BaselineStore(client, clock=clock)


def following(stamp: BatchStamp | None) -> BatchStamp:
    """Return the stamp of a batch that follows, made by hand."""
    return BatchStamp((stamp.batch_id if stamp else 0) + 1, 1, 0)


def nowhere() -> redis.Redis:
    """Return a client of a Redis that is not there."""
    return connect("redis://127.0.0.1:1/0")


def whole(ledger: Ledger) -> tuple[PartitionState, list[object]]:
    state, verdicts, _ = advance(ledger.log)
    return state, list(verdicts)


def loads(source: str) -> float:
    return float(BASELINE_LOADS.labels(source)._value.get())


def test_a_process_that_goes_on_finds_the_state_in_its_memory(ledger: Ledger, store: BaselineStore) -> None:
    verdicts = [verdict for cut in [*CUTS, LOG.end] for verdict in ledger.ingest(store, until=cut)]
    state, expected = whole(ledger)
    assert verdicts == expected
    before = loads("memory")
    assert ledger.load(store).encode_all() == state.encode_all()
    assert loads("memory") == before + 1


def test_another_process_finds_the_state_in_redis(ledger: Ledger, client: Client, clock: Clock) -> None:
    before = loads("redis")
    verdicts = [
        verdict for cut in [*CUTS, LOG.end] for verdict in ledger.ingest(BaselineStore(client, clock=clock), until=cut)
    ]
    state, expected = whole(ledger)
    assert verdicts == expected
    assert ledger.load(BaselineStore(client)).encode_all() == state.encode_all()
    assert loads("redis") == before + len(CUTS) + 1


def test_without_redis_the_state_is_rebuilt_from_checkpoint_and_events(
    ledger: Ledger, clock: Clock, settings: Settings
) -> None:
    settings.SENTINEL_CHECKPOINT_SECONDS = 10
    verdicts = []
    store = BaselineStore(nowhere(), clock=clock)
    for cut in [*CUTS, LOG.end]:
        verdicts += ledger.ingest(store, until=cut)
        clock.now += 4
    state, expected = whole(ledger)
    assert verdicts == expected
    assert 0 < checkpoint_offset(ledger.cursor.pk) < LOG.end
    assert ledger.load(BaselineStore(nowhere())).encode_all() == state.encode_all()


def test_a_process_that_dies_after_every_batch_changes_no_verdict(ledger: Ledger, clock: Clock) -> None:
    verdicts = []
    for cut in [*CUTS, LOG.end]:
        verdicts += ledger.ingest(BaselineStore(nowhere(), clock=clock), until=cut)
    assert verdicts == whole(ledger)[1]


def test_a_rebuild_uses_the_configuration_of_each_batch(ledger: Ledger, store: BaselineStore) -> None:
    config = DetectionConfig.objects.create(settings={"baseline": {"window_size": 50}, "zscore": {"threshold": 2.0}})
    ledger.ingest(store, until=700)
    ledger.ingest(store, until=2_000, config_version=config.version)
    ledger.ingest(store, until=LOG.end)
    expected = ledger.load(store).encode_all()
    Baseline.objects.all().delete()
    assert ledger.load(BaselineStore(nowhere())).encode_all() == expected


def test_events_that_are_gone_stop_a_rebuild(ledger: Ledger, store: BaselineStore) -> None:
    ledger.ingest(store, until=300)
    ledger.ingest(store, until=900)
    with connection.cursor() as sql:
        sql.execute("DELETE FROM events WHERE log_offset = (SELECT max(log_offset) FROM events)")
    with pytest.raises(EventsMissing, match=r"from offset 300 stored \d+ events"):
        ledger.load(BaselineStore(nowhere()))


def test_events_before_the_checkpoint_may_go(ledger: Ledger, store: BaselineStore, clock: Clock) -> None:
    ledger.ingest(store, until=900)
    with connection.cursor() as sql:
        sql.execute("DELETE FROM events")
    clock.now += 3_600
    ledger.ingest(store, until=2_000)
    expected = ledger.load(store).encode_all()
    assert ledger.load(BaselineStore(nowhere())).encode_all() == expected


def test_a_checkpoint_writes_every_series_touched_since_the_last(ledger: Ledger, client: Client, clock: Clock) -> None:
    for cut in [300, 302, 304, 306]:  # one process after the other, too little in each to touch all series
        ledger.ingest(BaselineStore(client, clock=clock), until=cut)
    assert checkpoint_offset(ledger.cursor.pk) == 300
    clock.now += 61
    ledger.ingest(BaselineStore(client, clock=clock), until=308)
    touched = {ledger.log.keys[i] for i in ledger.log.rows(300, 308).series.tolist()}
    rows = Baseline.objects.filter(next_offset=308).values_list("series__service", flat=True)
    assert set(rows) == {service for _, service, _ in touched}
    state = ledger.load(BaselineStore(client))
    assert ledger.load(BaselineStore(nowhere())).encode_all() == state.encode_all()


def test_a_clock_that_was_ahead_keeps_no_later_checkpoint_waiting(ledger: Ledger, client: Client, clock: Clock) -> None:
    clock.now += 3_600
    ledger.ingest(BaselineStore(client, clock=clock), until=300)
    clock.now -= 3_600
    ledger.ingest(BaselineStore(client, clock=clock), until=600)
    assert checkpoint_offset(ledger.cursor.pk) == 600


def test_a_checkpoint_shows_what_was_learned(ledger: Ledger, store: BaselineStore, clock: Clock) -> None:
    ledger.ingest(store, until=1_500)
    row = Baseline.objects.get(series__service="service-2")
    learned = ledger.load(store).learned(ledger.log.keys[2])["latency_ms"]
    summary = row.summary["latency_ms"]
    assert summary["samples"] == len(learned)
    assert summary["mean"] == pytest.approx(np.mean(learned))
    assert summary["p99"] == pytest.approx(np.percentile(learned, 99))


def test_a_failed_transaction_leaves_no_state_in_memory(ledger: Ledger, store: BaselineStore) -> None:
    ledger.ingest(store, until=900)
    state = ledger.load(store)
    expected = state.encode_all()
    state.advance(ledger.log.rows(900, 2_000), end_offset=2_000, profile=Profile())
    store.forget(ledger.cursor.pk)
    assert ledger.load(store).encode_all() == expected


def test_redis_of_another_timeline_is_not_believed(ledger: Ledger, store: BaselineStore, client: Client) -> None:
    ledger.ingest(store, until=900)
    ledger.ingest(store, until=2_000)
    expected = ledger.load(store).encode_all()
    [key] = client.keys("sentinel:*")
    client.hset(key, "stamp", str(following(ledger.last_stamp)))
    before = loads("rebuilt")
    assert ledger.load(BaselineStore(client)).encode_all() == expected
    assert loads("rebuilt") == before + 1


@pytest.mark.parametrize("where", ["memory", "redis"])
def test_a_state_after_a_batch_whose_id_was_used_again_is_not_believed(
    ledger: Ledger, store: BaselineStore, client: Client, where: str
) -> None:
    for cut in (300, 900, 2_000):
        ledger.ingest(store, until=cut)
    lost = ledger.last_stamp
    ledger.roll_back()
    ledger.ingest(BaselineStore(nowhere()), until=1_500)
    assert lost is not None
    assert ledger.last_stamp is not None
    assert ledger.last_stamp.batch_id == lost.batch_id
    before = loads("rebuilt")
    found = ledger.load(store if where == "memory" else BaselineStore(client))
    assert found.next_offset == 1_500
    assert loads("rebuilt") == before + 1


def test_damaged_fields_in_redis_are_not_believed(ledger: Ledger, store: BaselineStore, client: Client) -> None:
    ledger.ingest(store, until=900)
    expected = ledger.load(store).encode_all()
    [key] = client.keys("sentinel:*")
    client.hset(key, "[1, ", b"x")
    assert ledger.load(BaselineStore(client)).encode_all() == expected


def test_a_publish_writes_the_touched_series_alone_where_redis_is_up_to_date(
    ledger: Ledger, store: BaselineStore, client: Client
) -> None:
    ledger.ingest(store, until=900)
    state = ledger.load(store)
    state.advance(ledger.log.rows(900, 900), end_offset=950, profile=Profile())
    last = ledger.last_stamp
    written = store.publish(state, cursor_id=ledger.cursor.pk, previous_stamp=last, stamp=following(last))
    assert written is Written.UPDATED
    [key] = client.keys("sentinel:*")
    assert client.hget(key, "next_offset") == b"950"
    assert 0 < client.ttl(key) <= 86_400


def test_a_publish_replaces_what_redis_lost(ledger: Ledger, store: BaselineStore, client: Client) -> None:
    ledger.ingest(store, until=900)
    client.flushall()
    ledger.ingest(store, until=2_000)
    expected = ledger.load(store).encode_all()
    before = loads("redis")
    assert ledger.load(BaselineStore(client)).encode_all() == expected
    assert loads("redis") == before + 1


def test_a_redis_that_is_gone_costs_no_batch(ledger: Ledger) -> None:
    store = BaselineStore(nowhere())
    state = ledger.load(store)
    first = following(None)
    assert store.publish(state, cursor_id=ledger.cursor.pk, previous_stamp=None, stamp=first) is Written.FAILED


def test_state_of_other_code_is_relearned_from_the_log(ledger: Ledger, store: BaselineStore) -> None:
    for cut in CUTS:
        ledger.ingest(store, until=cut)
    expected = ledger.load(store).encode_all()
    row = Baseline.objects.first()
    assert row is not None
    row.state = (STATE_VERSION + 1).to_bytes(2, "little") + bytes(row.state)[2:]
    row.save()
    assert ledger.load(BaselineStore(nowhere())).encode_all() == expected


def test_an_idle_partition_is_checkpointed_once(ledger: Ledger, store: BaselineStore, clock: Clock) -> None:
    ledger.ingest(store, until=300)
    ledger.ingest(store, until=900)
    clock.now = time.time() + 61
    assert store.checkpoint_idle(idle_seconds=60) == 1
    assert checkpoint_offset(ledger.cursor.pk) == 900
    assert store.checkpoint_idle(idle_seconds=60) == 0
    expected = ledger.load(store).encode_all()
    with connection.cursor() as sql:
        sql.execute("DELETE FROM events")
    assert ledger.load(BaselineStore(nowhere())).encode_all() == expected


def test_a_partition_that_moves_is_left_alone(ledger: Ledger, store: BaselineStore) -> None:
    ledger.ingest(store, until=300)
    ledger.ingest(store, until=900)
    moving = BaselineStore(nowhere(), clock=time.time)
    assert moving.checkpoint_idle(idle_seconds=60) == 0


def test_the_first_batch_of_a_partition_starts_with_nothing(ledger: Ledger, store: BaselineStore) -> None:
    state = store.load(ledger.cursor.pk, start=5_000, last_stamp=None)
    assert (len(state), state.next_offset) == (0, 5_000)
